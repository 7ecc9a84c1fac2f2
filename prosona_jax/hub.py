"""Fetches files of a repository on the Hugging Face hub."""

import pathlib
from collections.abc import Callable

TIMEOUT_S = 5.0  # for the hub's first answer


def fetch(
    repository: str,
    patterns: list[str],
    *,
    file: str,
    is_complete: Callable[[pathlib.Path], bool],
) -> pathlib.Path:
    """Returns a folder with a repository's files, from the hub's cache or else from the hub.

    Args:
        repository: its id, such as "openai/clip-vit-base-patch32".
        patterns: the files to fetch, such as "*.json".
        file: a file in the cached folder that is looked for.
        is_complete: whether a cached folder has all the files that are needed.

    Raises:
        Exception: errors of several packages, if the hub does not provide the files.
    """
    import huggingface_hub as hub

    cached = hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str) and is_complete(pathlib.Path(cached).parent):
        return pathlib.Path(cached).parent
    # A download without an answer waits for ever. This request has a time limit.
    hub.model_info(repository, timeout=TIMEOUT_S)
    return pathlib.Path(hub.snapshot_download(repository, allow_patterns=patterns))
