"""The hub: which commit a revision is, which files it has, and their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from medpipe.ingest.download import HubFile, download_file
from medpipe.ingest.errors import BusyHubError, FetchError
from medpipe.ingest.held import licence_words
from medpipe.ingest.hub_address import HUB, public_host
from medpipe.ingest.hub_errors import TOO_MANY, Progress, Retries, asked_wait, explained, with_retries
from medpipe.ingest.revisions import is_commit
from medpipe.settings import Settings

_TIMEOUT_SECONDS = 30.0
_QUESTION_TIMEOUT_SECONDS = 8.0
"""For a question that nobody waits for and that is asked again anyway."""


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    files: dict[str, HubFile]
    """By path."""
    gated: bool = False
    """Whether the publisher asks for consent to terms."""
    licence: str | None = None
    """As the data set's card states it."""


@dataclass(frozen=True, kw_only=True)
class HubClient:
    """Access to one hub or mirror."""

    endpoint: str = HUB
    token: SecretStr | None = field(default=None, repr=False)
    """Sent to the endpoint only; None sends no credential, not even one that the machine has stored."""
    retries: Retries = field(default_factory=Retries)

    @classmethod
    def from_settings(cls, settings: Settings) -> HubClient:
        """The hub that `HF_ENDPOINT` names, with the token of `HF_TOKEN`."""
        return cls(endpoint=(settings.hf_endpoint or HUB).rstrip("/"), token=settings.hf_token)

    @property
    def host(self) -> str:
        """Host and port, without any credential that the endpoint's address may hold."""
        return public_host(self.endpoint)

    def list_files(self, repository: str, *, revision: str, progress: Progress) -> Listing:
        """Asks for the commit of a revision and the files at it.

        Args:
            repository: `owner/name` of a data set.
            revision: branch, tag or commit.
            progress: told of further tries.

        Raises:
            FetchError: no such repository or revision, no access, no network.
        """
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=self._credential)
        with self._explained(repository, revision):
            info = with_retries(
                lambda: api.dataset_info(
                    repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_SECONDS
                ),
                retries=self.retries,
                what=repository,
                progress=progress,
            )
        if info.sha is None or not is_commit(info.sha):
            raise FetchError(
                f"{self.host} names no commit for {repository} at '{revision}'; use another HF_ENDPOINT"
            )
        files = {
            sibling.rfilename: HubFile(
                path=sibling.rfilename,
                size=sibling.size,
                hash=sibling.lfs.sha256 if sibling.lfs else sibling.blob_id,
            )
            for sibling in info.siblings or []
        }
        licence = licence_words(info.card_data.get("license")) if info.card_data else None
        return Listing(info.sha, files, gated=bool(info.gated), licence=licence)

    def newest_commit(self, repository: str, *, revision: str) -> str:
        """The commit that a branch or tag stands for now: one small request, tried once.

        Raises:
            BusyHubError: the hub answers no requests for a while.
            FetchError: no such repository or revision, no access, no network.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi(endpoint=self.endpoint, token=self._credential)
        with self._explained(repository, revision):
            try:
                info = api.dataset_info(
                    repository, revision=revision, expand=["sha"], timeout=_QUESTION_TIMEOUT_SECONDS
                )
            except HfHubHTTPError as error:
                if error.response.status_code != TOO_MANY:
                    raise
                seconds = asked_wait(error) or 0.0
                message = f"{self.host} answered {TOO_MANY} (too many requests) for {repository}"
                raise BusyHubError(f"{message}; it is asked again later", seconds=seconds) from None
        if info.sha is None or not is_commit(info.sha):
            raise FetchError(
                f"{self.host} names no commit for {repository} at '{revision}'; use another HF_ENDPOINT"
            )
        return info.sha

    def download(
        self, repository: str, listing: Listing, paths: Sequence[str], *, into: Path, progress: Progress
    ) -> dict[str, Path]:
        """Downloads files of one commit; what a killed download left in the folder is gone on with.

        Args:
            repository: `owner/name` of a data set.
            listing: the files at the commit.
            paths: which of them.
            into: folder that outlives a failure; finished files lie below `whole/`, others below `part/`.
            progress: told of each file and of further tries.

        Returns:
            The local file of each path, its bytes checked against the hub's hash.

        Raises:
            FetchError: no access, no network, or bytes that do not match; the folder stays.
            DiskFullError: no space left; the folder stays.
        """
        files = {}
        for path in paths:
            with self._explained(repository, listing.commit, file=path):
                files[path] = download_file(
                    self._located(repository, listing, path, progress),
                    url=self._url(repository, listing.commit, path),
                    credential=self._credential,
                    into=into,
                    retries=self.retries,
                    progress=progress,
                )
        return files

    @property
    def _credential(self) -> str | bool:
        # False, not None: None would send a token that `hf auth login` stored to whatever mirror is set.
        return self.token.get_secret_value() if self.token and self.token.get_secret_value() else False

    def _url(self, repository: str, commit: str, path: str) -> str:
        from huggingface_hub import constants, hf_hub_url

        url = hf_hub_url(repository, path, repo_type="dataset", revision=commit)
        return self.endpoint + url.removeprefix(constants.ENDPOINT)

    def _located(self, repository: str, listing: Listing, path: str, progress: Progress) -> HubFile:
        """The file with its size and hash, asked for where the listing of a mirror has none."""
        from huggingface_hub import get_hf_file_metadata

        file = listing.files[path]
        if file.size is not None and file.hash is not None:
            return file
        metadata = with_retries(
            lambda: get_hf_file_metadata(
                self._url(repository, listing.commit, path),
                token=self._credential,
                timeout=_TIMEOUT_SECONDS,
                endpoint=self.endpoint,
            ),
            retries=self.retries,
            what=path,
            progress=progress,
        )
        return HubFile(path=path, size=metadata.size, hash=metadata.etag)

    def _explained(
        self, repository: str, revision: str, *, file: str | None = None
    ) -> AbstractContextManager[None]:
        return explained(
            repository=repository,
            revision=revision,
            page=f"{HUB}/datasets/{repository}",
            has_token=bool(self._credential),
            host=self.host,
            file=file,
        )
