"""The networks: one file per architecture, each a Linen module `(image, *, train) -> logits`.

The contract: `(B, H, W, C)` preprocessed image -> `(B, H, W, K)` float32 logits at the image's
size, for any C, H and W. A network that needs multiples of a stride pads by edge replication inside
and crops its logits. Auxiliary heads leave by `self.sow("aux_logits", ...)` as further (B, H, W, K)
float32 logits, what the image holds anywhere by `self.sow("class_logits", ...)` as (B, K) float32
logits. No activation at the end, no weight loading.
"""
