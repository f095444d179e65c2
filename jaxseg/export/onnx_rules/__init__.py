"""How each primitive of JAX is written in ONNX: one table from name to rule in each file.

A rule takes the graph, the equation and its inputs, each the name of a tensor or a NumPy array that
is known, and returns the name of its result, or several. The layouts of JAX are kept; convolutions
and pooling, which ONNX has for channels first alone, are put between two transpositions, of which
onnxruntime removes those that meet.

Why our own: jax2onnx, the converter that is maintained, asks for orbax-checkpoint < 0.11.37 since
its version 0.13 (jaxseg needs >= 0.12.8), knows no `platform_index`, and its 0.12.5 writes
operators of a later opset into files of opset 17, which onnxruntime refuses.
"""
