"""What the operator of a studio decides. The only reader of environment variables and secrets (prefix `STUDIO_`)."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="STUDIO_", extra="ignore")

    home: Path = Field(Path("~/.adapter-studio"), description="Folder of everything the studio keeps.")
    models: Path | None = Field(None, description="Folder of base models; `models` in the home unless set.")
    host: str = Field("127.0.0.1", description="Address the web page listens on.")
    port: int = Field(7860, ge=1, le=65535, description="Port the web page listens on.")
    username: str = Field("", description="Login for the web page; needed when other machines can reach it.")
    password: SecretStr = Field(SecretStr(""), description="Password for the web page.")
    allowed_hosts: str = Field("", description="Further host names the page may be opened under, separated by commas.")
    engine_url: str = Field("", description="An engine elsewhere (OpenAI's API); empty starts one on this machine.")
    engine_host: str = Field("127.0.0.1", description="Address the engine listens on.")
    engine_port: int = Field(0, ge=0, le=65535, description="Port the engine listens on; 0 takes a free one.")
    engine_token: SecretStr = Field(SecretStr(""), description="Bearer token between web page and engine.")
    max_upload_mib: int = Field(2048, ge=1, description="Most that may be uploaded at once, in MiB.")
    max_whole_file_mib: int = Field(
        256,
        ge=1,
        description="Largest file of a kind that is read in one piece (JSON, YAML, Excel, Word, PDF), in MiB.",
    )
    max_archive_mib: int = Field(4096, ge=1, description="Most that an archive may hold when unpacked, in MiB.")
    max_archive_files: int = Field(1000, ge=1, description="Most files in an archive, or chosen at once.")
    max_cell_chars: int = Field(1_000_000, ge=1000, description="Longest single text in a data set, in characters.")
    max_rows: int = Field(2_000_000, ge=1, description="Most rows a data set may have.")
    hub_url: str = Field("https://huggingface.co", description="Where a data set that is named by its id is fetched.")
    hub_models: str = Field("", description="Further hub ids that may be chosen as a base model, separated by commas.")
