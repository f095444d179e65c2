"""A run on the Hugging Face hub: its card and one checkpoint, from where `load_run` opens it."""

import re
from pathlib import Path

from jaxseg.errors import UserError
from jaxseg.weights.fetching import first_line, hub_errors


def check(repository: str, licence: str) -> None:
    """Refuses a push that would fail, before anything is written.

    Raises:
        UserError: The name is not that of a repository, there is no licence, or the library is
            missing.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UserError(f"--push {repository}: give OWNER/NAME of a model on the hub.")
    if not licence:
        raise UserError(
            "--push without a licence: others need to know what they may do with the weights. Give "
            "--licence with an identifier of the hub, such as apache-2.0, cc-by-4.0 or other, or "
            "fill it in at the head of the card that is there."
        )
    try:
        import huggingface_hub  # noqa: F401  whether it is there
    except ImportError:
        raise UserError(
            "--push needs a library: `pip install 'jaxseg[hub]'`, then `hf auth login`."
        ) from None


def push(repository: str, workdir: Path, step: int, card: Path) -> str:
    """Uploads the card and a checkpoint; a new repository is private.

    Args:
        repository: OWNER/NAME.
        workdir: The run's folder.
        step: Of the checkpoint.
        card: The model card.

    Returns:
        The address.

    Raises:
        UserError: The hub refuses it or cannot be reached.
    """
    import huggingface_hub

    hub = huggingface_hub.HfApi()
    try:
        address = hub.create_repo(repository, repo_type="model", private=True, exist_ok=True)
        place = f"checkpoints/{step}"
        hub.upload_folder(repo_id=repository, folder_path=workdir / place, path_in_repo=place)
        hub.upload_file(repo_id=repository, path_or_fileobj=card, path_in_repo="README.md")
    except hub_errors() as error:
        raise UserError(
            f"{repository} cannot be pushed: {first_line(error)}.\nLog in with `hf auth login`, "
            "check the name and the network; the same command continues."
        ) from None
    return str(address)
