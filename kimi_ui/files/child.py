"""The child process of ``reading``, executed as a script: a file on stdin, what is in it on stdout.

Arguments: the most CPU seconds and bytes of memory, the kind of file and its further limits. The answer's first line is
JSON, ``{"problem": …}`` where the file cannot be read.
"""

import io
import json
import sys

NOT_TEXT = dict.fromkeys((*range(9), 11, *range(14, 32), 127)) | {9: " ", 12: "\n", 13: "\n"}
"""Control characters: fonts without a table of their characters yield them."""


def limit(cpu_s: int, memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's deadline alone
        return
    for what, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(what, (value, value))
        except (ValueError, OSError):
            pass  # macOS has no limit of addresses


def pdf(data: bytes, max_pages: int, max_chars: int) -> dict[str, object]:
    """``{"pages": [text or null, …]}``, null for a page that cannot be read; else the problem ``password``,
    ``damaged``, ``pages`` (with their number ``n``), ``chars`` or ``work``."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    try:
        reader = PdfReader(io.BytesIO(data))
        n_pages = len(reader.pages)
    except (DependencyError, FileNotDecryptedError):  # the first: a cipher that only a further library knows
        return {"problem": "password"}
    except (LimitReachedError, RecursionError):
        return {"problem": "work"}
    except MemoryError:
        raise
    except Exception:
        return {"problem": "damaged"}
    if n_pages > max_pages:
        return {"problem": "pages", "n": n_pages}
    pages: list[str | None] = []
    n_chars = 0
    for place in range(n_pages):
        try:
            text = reader.pages[place].extract_text().translate(NOT_TEXT)
        except (LimitReachedError, RecursionError):
            return {"problem": "work"}
        except MemoryError:
            raise
        except Exception:  # this page alone
            pages.append(None)
            continue
        pages.append("\n".join(line.rstrip() for line in text.encode(errors="replace").decode().split("\n")).strip())
        n_chars += len(text)
        if n_chars > max_chars:
            return {"problem": "chars"}
    return {"pages": pages} if any(page is not None for page in pages) else {"problem": "damaged"}


def main() -> None:
    cpu_s, memory, kind, *limits = sys.argv[1:]
    limit(int(cpu_s), int(memory))
    try:
        answer = {"pdf": pdf}[kind](sys.stdin.buffer.read(), *map(int, limits))
    except MemoryError:
        answer = {"problem": "work"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
