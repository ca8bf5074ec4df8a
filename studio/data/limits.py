"""What is too much. The operator's settings decide; readers hold every file to it before memory or disk is spent."""

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    rows: int = 2_000_000
    cell_chars: int = 1_000_000
    whole_mib: int = 256  # of a file that can only be read in one piece: JSON, YAML, Excel, Word, PDF
    archive_mib: int = 4096  # of an archive, unpacked
    archive_files: int = 1000
