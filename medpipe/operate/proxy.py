"""The configuration of Caddy as the one door to both UIs: password, host names, no forged requests.

Caddy, because one binary of Debian's does all of it: TLS with certificates that it fetches and renews itself,
WebSockets without a word of configuration, passwords as bcrypt hashes that it makes itself (nginx needs a
second package for that), and header matchers that can say "has an Origin, and not one of ours".
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from medpipe.lake.files import write_bytes_atomically
from medpipe.operate.servers import HUB_SECRETS, LOOPBACK, Places, ServerSpec

DAGSTER_PREFIX = "/dagster"
MLFLOW_PREFIX = "/mlflow"
TLS = ("off", "internal", "auto")
"""None; certificates of an authority that Caddy makes; those of a public one, which it asks for."""
_LOOPBACK_NAMES = (LOOPBACK, "localhost")
_SHORTEST_PASSWORD = 12


class ProxyError(ValueError):
    """The proxy cannot be set up as asked; the message names the fix."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where people come in."""

    host: str = LOOPBACK
    """Address that is listened on."""
    port: int = 8080
    public_url: str | None = None
    """What people type, such as `https://corpus.example`, where it is not `http://<host>:<port>`."""
    tls: str = "off"
    """One of `TLS`."""
    user: str = "medpipe"
    password: SecretStr | None = None
    asks_nobody: bool = False
    """Whether a gateway before it logs people in, so that it needs no password."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in _LOOPBACK_NAMES

    @property
    def url(self) -> str:
        """What people type."""
        scheme = "http" if self.tls == "off" else "https"
        return (self.public_url or f"{scheme}://{self.host}:{self.port}").rstrip("/")

    @property
    def hosts(self) -> list[str]:
        """Names and addresses under which it answers."""
        named = [urlsplit(self.url).hostname or ""]
        return sorted({*named, *(_LOOPBACK_NAMES if self.is_loopback else ())})

    @property
    def origins(self) -> list[str]:
        """Of its own pages, as a browser sends them."""
        scheme = "http" if self.tls == "off" else "https"
        parts = urlsplit(self.url)
        here = [_origin(scheme, name, self.port) for name in self.hosts]
        return sorted({_origin(parts.scheme, parts.hostname or "", parts.port), *here})


def _origin(scheme: str, host: str, port: int | None) -> str:
    """A browser leaves out the port that the scheme has anyway."""
    name = f"[{host}]" if ":" in host else host
    is_usual = port in (None, {"http": 80, "https": 443}.get(scheme))
    return f"{scheme}://{name}" if is_usual else f"{scheme}://{name}:{port}"


def find_caddy() -> str:
    """Path of the binary.

    Raises:
        ProxyError: it is not installed.
    """
    found = shutil.which("caddy")
    if found is None:
        raise ProxyError(
            "medpipe serve needs the reverse proxy caddy, which is not installed; on Debian and Ubuntu: "
            "apt-get install caddy; elsewhere: https://caddyserver.com/docs/install. `medpipe dev` needs none"
        )
    return found


def check_door(door: Door) -> None:
    """Refuses what would let strangers in.

    Raises:
        ProxyError: somebody could come in without a password, or by no name at all.
    """
    if door.tls not in TLS:
        raise ProxyError(f"--tls {door.tls} must be one of {', '.join(TLS)}")
    password = door.password.get_secret_value() if door.password else ""
    if not door.is_loopback and not password:
        raise ProxyError(
            f"--host {door.host} lets other machines in; set MEDPIPE_SERVE_PASSWORD, or leave --host out"
        )
    if not password and not door.asks_nobody:
        raise ProxyError(
            f"set MEDPIPE_SERVE_PASSWORD (at least {_SHORTEST_PASSWORD} characters), or say --no-password "
            "if a gateway before it logs people in"
        )
    if password and door.asks_nobody:
        raise ProxyError("MEDPIPE_SERVE_PASSWORD is set; unset it, or leave --no-password out")
    if password and len(password) < _SHORTEST_PASSWORD:
        raise ProxyError(f"MEDPIPE_SERVE_PASSWORD needs at least {_SHORTEST_PASSWORD} characters")
    if (door.host in ("0.0.0.0", "") or ":" in door.host) and door.public_url is None:  # noqa: S104 - compared
        raise ProxyError(
            f"--host {door.host} is no address that people type; give it with --public-url, such as "
            "--public-url https://corpus.example"
        )
    parts = urlsplit(door.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise ProxyError(f"--public-url {door.url!r} must look like https://corpus.example, without a path")
    if not door.user.isalnum():
        raise ProxyError("MEDPIPE_SERVE_USER must consist of letters and digits")


def places_behind(door: Door, *, dagster_port: int, mlflow_port: int) -> Places:
    """Where both UIs are served so that one door leads to both."""
    return Places(
        dagster_port=dagster_port,
        mlflow_port=mlflow_port,
        dagster_prefix=DAGSTER_PREFIX,
        mlflow_prefix=MLFLOW_PREFIX,
        public_url=door.url,
    )


def hash_password(caddy: str, password: str) -> str:
    """Caddy's own bcrypt hash; the password goes by standard input, which nobody else can read.

    Raises:
        ProxyError: caddy refuses.
    """
    made = subprocess.run([caddy, "hash-password"], input=password + "\n", capture_output=True, text=True)
    if made.returncode != 0 or not made.stdout.strip():
        raise ProxyError("caddy could not hash MEDPIPE_SERVE_PASSWORD; it must be one line of text")
    return made.stdout.strip().splitlines()[-1]


def _mlflow_behind(places: Places) -> str:
    """What of the Caddyfile leads to MLflow's UI."""
    return f"""		redir {MLFLOW_PREFIX} {MLFLOW_PREFIX}/
		handle {MLFLOW_PREFIX}/* {{
			reverse_proxy {LOOPBACK}:{places.mlflow_port} {{
				# Both answer to their own address only; whose page asks has been looked at above.
				header_up Host {{upstream_hostport}}
				header_up -Origin
				header_up -Authorization
			}}
		}}
"""


def caddyfile(door: Door, places: Places, *, password_hash: str | None, has_mlflow: bool = True) -> str:
    """The text of the Caddyfile.

    Args:
        door: where people come in.
        places: of the servers behind it.
        password_hash: of `hash_password`; None where no password is asked for.
        has_mlflow: MLflow's UI is ours; where it is not, somebody else may be at its port.
    """
    mlflow = _mlflow_behind(places) if has_mlflow else ""
    address = f"http://:{door.port}"
    if door.tls != "off":
        address = ", ".join(f"https://{name}:{door.port}" for name in door.hosts)
    tls = "\ttls internal\n" if door.tls == "internal" else ""
    login = f"\tbasicauth {{\n\t\t{door.user} {password_hash}\n\t}}\n" if password_hash else ""
    hsts = '\t\tStrict-Transport-Security "max-age=31536000"\n' if door.url.startswith("https") else ""
    own = "".join(f"\t\t\theader Origin {origin}\n" for origin in door.origins)
    return f"""{{
	admin off
	auto_https disable_redirects
	servers {{
		timeouts {{
			read_header 10s
			idle 5m
		}}
	}}
}}
{address} {{
	bind {door.host}
{tls}	header {{
		X-Content-Type-Options nosniff
		X-Frame-Options SAMEORIGIN
		Referrer-Policy same-origin
		Cross-Origin-Opener-Policy same-origin
		Cross-Origin-Resource-Policy same-origin
		Permissions-Policy "camera=(), geolocation=(), microphone=()"
		?Content-Security-Policy "frame-ancestors 'self'; object-src 'none'; base-uri 'self'"
{hsts}		-Server
	}}
	route {{
		@foreign_host not host {" ".join(door.hosts)}
		respond @foreign_host "unknown host" 421
{login}		# Pages of others: what a browser says of where a request comes from.
		@foreign_origin {{
			header Origin *
			not {{
{own.replace(chr(9) * 3, chr(9) * 4)}			}}
		}}
		respond @foreign_origin "cross-site request" 403
		@cross_site {{
			header Sec-Fetch-Site cross-site
			header Sec-Fetch-Site same-site
			not {{
				method GET HEAD
				header Sec-Fetch-Mode navigate
				header Sec-Fetch-Dest document
			}}
		}}
		respond @cross_site "cross-site request" 403
		# GraphQL by POST of JSON only: whatever a link or a form can send changes nothing.
		@graphql_in_address {{
			path */graphql
			query query=*
		}}
		respond @graphql_in_address "GraphQL is taken by POST only" 405
		@graphql_get {{
			path */graphql
			not method POST
			not {{
				header Connection *pgrade*
				header Upgrade websocket
				header Sec-WebSocket-Key *
				header Origin *
			}}
		}}
		respond @graphql_get "GraphQL is taken by POST only" 405
		@graphql_form {{
			path */graphql
			method POST
			not header Content-Type application/json*
		}}
		respond @graphql_form "GraphQL is taken as application/json only" 415

		redir / {DAGSTER_PREFIX}/
		# Dagster itself would lead to the address that it sees, which is on loopback.
		redir {DAGSTER_PREFIX} {DAGSTER_PREFIX}/
		handle {DAGSTER_PREFIX}/* {{
			reverse_proxy {LOOPBACK}:{places.dagster_port} {{
				header_up Host {{upstream_hostport}}
				header_up -Origin
				header_up -Authorization
			}}
		}}
{mlflow}		respond "not found" 404
	}}
}}
"""


def proxy_server(
    door: Door, places: Places, *, folder: Path, state: Path, caddy: str, has_mlflow: bool = True
) -> ServerSpec:
    """The proxy as a server, its configuration written into a folder that nobody else may enter.

    Args:
        door: where people come in.
        places: of the servers behind it.
        folder: takes the configuration.
        state: keeps certificates.
        caddy: path of the binary.
        has_mlflow: see `caddyfile`.
    """
    password = door.password.get_secret_value() if door.password else None
    hashed = hash_password(caddy, password) if password else None
    path = folder / "Caddyfile"
    text = caddyfile(door, places, password_hash=hashed, has_mlflow=has_mlflow)
    write_bytes_atomically(path, text.encode())
    path.chmod(0o600)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return ServerSpec(
        name="proxy",
        command=(caddy, "run", "--config", path.as_posix(), "--adapter", "caddyfile"),
        # Caddy keeps a copy of its last configuration, and so of the password's hash, in the second one.
        env={"XDG_DATA_HOME": state.as_posix(), "XDG_CONFIG_HOME": folder.as_posix()},
        without=HUB_SECRETS,
        opens=door.port if door.is_loopback else None,
        url=door.url,
    )
