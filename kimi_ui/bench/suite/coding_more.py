"""Coding, continued: layout of text, graphs, distances, grids, time and rules."""

from __future__ import annotations

import random
from typing import Any

from .case import Draft
from .coding import _calls, _draft, template


@template("code", cases=2)
def layout(rng: random.Random, k: int) -> Draft:
    """Break text into lines, ragged or justified."""
    words = ["a", "to", "the", "of", "fox", "river", "lantern", "in", "marvellous", "stone", "by", "wandering", "owl"]
    texts = [
        "",
        "word",
        "two words",
        "a  b",
        " lead and trail ",
        "aaaaaaaaaaaaaaaaaaaaaaaaa",
        "a aaaaaaaaaaaaaaaaaaaaaaaaa b",
        "a b c d e f g h",
    ]
    texts += [" ".join(rng.choice(words) for _ in range(rng.randint(4, 16))) for _ in range(14)]
    if k == 0:
        wrapped = [[text, width] for text in texts for width in rng.sample([1, 5, 8, 10, 12, 20], 2)]
        wrapped += [["aa bb", 5], ["aa bb", 4], ["abcdef", 3], ["abcdefg", 3], ["x abcdefg y", 3]]
        return _draft(
            """
            Write a function `wrap(text, width)` that breaks a text into lines of at most `width` (at least 1) characters and
            returns the list of lines. Words are separated by one or more spaces; within a line they are joined by one space. Each
            line takes as many words as fit. A word longer than `width` starts on a new line, is cut into pieces of `width`
            characters, and its last piece shares its line with the words that follow, if they fit. A text without words gives
            an empty list.
            """,
            """
            def wrap(text, width):
                lines = []
                for word in text.split():
                    if lines and len(word) <= width and len(lines[-1]) + 1 + len(word) <= width:
                        lines[-1] += " " + word
                        continue
                    for start in range(0, len(word), width):
                        lines.append(word[start:start + width])
                return lines
            """,
            _calls("wrap", wrapped),
        )
    side = rng.choice(["left", "right"])
    order = "gap" if side == "left" else "gaps - 1 - gap"
    inputs: list[list[Any]] = [[text.split(), width] for text in texts if len(text) < 90 for width in (12, 17)]
    inputs = [[ws, width] for ws, width in inputs if all(len(w) <= width for w in ws)]
    inputs += [
        [["a", "b", "c"], 5],
        [["a", "b", "c"], 6],
        [["ab", "cd", "ef"], 9],
        [["ab", "cd", "ef", "g"], 8],
        [["abcde"], 5],
    ]
    return _draft(
        f"""
        Write a function `justify(words, width)` that sets a list of words (each at most `width` characters) into lines of
        exactly `width` characters and returns the list of lines. Each line takes as many words as fit with at least one space
        between them. The spaces of a line are spread over its gaps as evenly as possible; where they do not divide evenly,
        the gaps further to the {side} get one more space each. The last line, and a line with a single word, is set flush left
        and filled with spaces on the right. An empty list gives an empty list.
        """,
        f"""
        def justify(words, width):
            rows = []
            for word in words:
                if rows and len(" ".join(rows[-1])) + 1 + len(word) <= width:
                    rows[-1].append(word)
                else:
                    rows.append([word])
            lines = []
            for number, row in enumerate(rows):
                gaps = len(row) - 1
                if number == len(rows) - 1 or gaps == 0:
                    lines.append(" ".join(row).ljust(width))
                    continue
                spaces, more = divmod(width - sum(map(len, row)), gaps)
                line = row[0]
                for gap in range(gaps):
                    line += " " * (spaces + (1 if {order} < more else 0)) + row[gap + 1]
                lines.append(line)
            return lines
        """,
        _calls("justify", inputs),
    )


@template("code", cases=2)
def dependencies(rng: random.Random, k: int) -> Draft:
    """Order tasks by what they need, or find how long they take in parallel."""

    def graph(n: int, cyclic: bool) -> dict[str, list[str]]:
        names = rng.sample("abcdefgh", n)
        needs = {name: rng.sample(names[:i], rng.randint(0, min(i, 2))) for i, name in enumerate(names)}
        if cyclic and n > 1:
            needs[names[0]] = [names[-1]]
            needs[names[-1]] = [*needs[names[-1]], names[0]]
        items = list(needs.items())
        rng.shuffle(items)
        return dict(items)

    graphs: list[Any] = [{}, {"a": []}, {"a": ["a"]}, {"b": [], "a": []}, {"a": ["b"], "b": []}, {"a": ["b"]}, {"a": ["b"], "b": ["a"], "c": []},
                         {"c": ["z", "y"], "y": ["z"]}, {"a": ["b", "b"], "b": []}]  # fmt: skip
    graphs += [graph(rng.randint(2, 7), rng.random() < 0.2) for _ in range(20)]

    def encoded(needs: dict[str, Any]) -> dict[str, Any]:
        return {"d": [[key, value] for key, value in needs.items()]}

    if k == 0:
        direction = rng.choice(["first", "last"])
        pick = "min" if direction == "first" else "max"
        return _draft(
            f"""
            Write a function `order(needs)`. `needs` maps each task (a string) to the list of tasks that must come before it; a
            task that only occurs in such a list needs nothing itself. Return all tasks in an order that respects this. Build the
            order from its beginning: at each step take, among the tasks whose needs are all done, the one that comes
            {direction} in alphabetical order. Return `None` if no order exists.
            """,
            f"""
            def order(needs):
                left = {{task: set(before) for task, before in needs.items()}}
                for before in needs.values():
                    for task in before:
                        left.setdefault(task, set())
                done = []
                while left:
                    free = [task for task, before in left.items() if not before]
                    if not free:
                        return None
                    task = {pick}(free)
                    del left[task]
                    for before in left.values():
                        before.discard(task)
                    done.append(task)
                return done
            """,
            [{"entry": "order", "args": [encoded(one)]} for one in graphs],
        )
    inputs = []
    for one in graphs:
        names = sorted({*one, *(name for before in one.values() for name in before)})
        inputs.append([encoded(one), encoded({name: rng.randint(0, 9) for name in names})])
    pause = rng.randint(1, 3)
    return _draft(
        f"""
        Write a function `finish(needs, hours)`. `needs` maps tasks (strings) to the lists of tasks that must be finished before;
        a task that only occurs in such a list needs nothing itself. `hours` maps every task to its duration, a whole number
        of hours, 0 or more. Any number of tasks can run at the same time. A task that needs others starts {pause} hours
        after the last of them has finished; a task that needs nothing starts at 0. Return the hour at which the last task is
        finished, 0 if there are no tasks, or `None` if tasks need each other in a circle.
        """,
        f"""
        def finish(needs, hours):
            ends = {{}}
            tasks = set(needs) | {{task for before in needs.values() for task in before}}
            while len(ends) < len(tasks):
                ready = [t for t in tasks if t not in ends and all(b in ends for b in needs.get(t, []))]
                if not ready:
                    return None
                for task in ready:
                    before = needs.get(task, [])
                    start = max(ends[b] for b in before) + {pause} if before else 0
                    ends[task] = start + hours[task]
            return max(ends.values(), default=0)
        """,
        [{"entry": "finish", "args": one} for one in inputs],
    )


@template("code", cases=2)
def distances(rng: random.Random, k: int) -> Draft:
    """Edit distance with prices, or the cheapest way to make two texts equal."""
    words = [
        "",
        "a",
        "b",
        "ab",
        "ba",
        "abc",
        "acb",
        "kitten",
        "sitting",
        "abab",
        "baba",
        "aaaa",
        "bbbb",
        "abcdef",
        "badcfe",
        "aba",
        "bab",
    ]
    pairs = [[a, b] for a in words for b in rng.sample(words, 2)]
    pairs += [["".join(rng.choice("abc") for _ in range(rng.randint(1, 7))) for _ in range(2)] for _ in range(14)]
    insert, delete, change = rng.randint(1, 4), rng.randint(1, 4), rng.randint(2, 7)
    swap = rng.randint(1, 3)
    swapping = (
        f"""
                    if i > 1 and j > 1 and first[i - 1] == second[j - 2] and first[i - 2] == second[j - 1]:
                        best = min(best, table[i - 2][j - 2] + {swap})"""
        if k
        else ""
    )
    also = (
        f" Swapping two neighbouring letters costs {swap}; letters that were swapped are not touched by any other operation."
        if k
        else ""
    )
    name = "price_with_swaps" if k else "price"
    pairs += [["ab", "ba"], ["abcd", "badc"], ["ca", "abc"]]
    return _draft(
        f"""
        Write a function `{name}(first, second)` that returns the lowest total price of turning the text `first` into `second`.
        Inserting a letter costs {insert}, deleting one costs {delete}, and replacing a letter by a different one costs {change}.{also}
        """,
        f"""
        def {name}(first, second):
            table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
            for i in range(len(first) + 1):
                for j in range(len(second) + 1):
                    if i == 0 and j == 0:
                        continue
                    best = float("inf")
                    if i > 0:
                        best = min(best, table[i - 1][j] + {delete})
                    if j > 0:
                        best = min(best, table[i][j - 1] + {insert})
                    if i > 0 and j > 0:
                        cost = 0 if first[i - 1] == second[j - 1] else {change}
                        best = min(best, table[i - 1][j - 1] + cost){swapping}
                    table[i][j] = best
            return table[-1][-1]
        """,
        _calls(name, pairs),
    )


@template("code", cases=2)
def walks_through_a_grid(rng: random.Random, k: int) -> Draft:
    """Read a matrix along a path."""

    def matrix(rows: int, columns: int) -> list[list[int]]:
        return [[10 * r + c for c in range(columns)] for r in range(rows)]

    shapes = [(1, 1), (1, 4), (4, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 4), (3, 5), (5, 3), (5, 5), (2, 6), (6, 2)]
    inputs: list[list[Any]] = [[[]], *([matrix(*shape)] for shape in shapes)]
    inputs += [[[[rng.randint(0, 9) for _ in range(c)] for _ in range(r)]] for r, c in rng.sample(shapes, 6)]
    if k == 0:
        corner, turn = rng.choice(["top right", "bottom left"]), "clockwise"
        prepare = (
            "[row[::-1] for row in grid[::-1]]"
            if corner == "bottom left"
            else "[list(row) for row in zip(*grid)][::-1]"
        )
        # The source reads clockwise from the top left of the prepared grid.
        start = "bottom right" if corner == "bottom left" else "top right"
        return _draft(
            f"""
            Write a function `spiral(grid)` that returns the elements of a matrix (a list of equally long rows, perhaps empty) as a
            list, in the order of a {turn} spiral from the outside to the inside that starts in the {start} corner, going
            {"left" if start == "bottom right" else "down"} first.
            """,
            f"""
            def spiral(grid):
                rest = {prepare}
                out = []
                while rest:
                    out += rest[0]
                    rest = [list(row) for row in zip(*rest[1:])][::-1]
                return out
            """,
            _calls("spiral", inputs),
        )
    up_first = rng.choice([True, False])
    return _draft(
        f"""
        Write a function `zigzag(grid)` that returns the elements of a matrix (a list of equally long rows, perhaps empty) as a
        list, diagonal by diagonal. A diagonal holds the elements whose row and column numbers have the same sum. Begin with the
        top left element. The second diagonal is read {"upwards (from its lower left to its upper right end)" if up_first else "downwards (from its upper right to its lower left end)"}, the
        third the other way, and so on, alternating.
        """,
        f"""
        def zigzag(grid):
            diagonals = {{}}
            for row, values in enumerate(grid):
                for column, value in enumerate(values):
                    diagonals.setdefault(row + column, []).append(value)
            out = []
            for number, diagonal in diagonals.items():
                out += diagonal[::-1] if number % 2 == {1 if up_first else 0} else diagonal
            return out
        """,
        _calls("zigzag", inputs),
    )


@template("code", cases=2)
def durations(rng: random.Random, k: int) -> Draft:
    """Read and write durations."""
    seconds = [
        0,
        1,
        59,
        60,
        61,
        90,
        3599,
        3600,
        3601,
        3660,
        3661,
        7325,
        86399,
        86400,
        86401,
        90061,
        172800,
        172860,
        604800,
        176461,
    ]
    seconds += [rng.randint(0, 300_000) for _ in range(10)]
    if k == 0:
        join = rng.choice([" ", ":", "-"])
        return _draft(
            f"""
            Write a function `written(seconds)` that writes a whole number of seconds, 0 or more, as days, hours, minutes and seconds,
            such as `"2d{join}3h{join}5s"`: each part is a number and one of d, h, m, s, largest unit first, parts joined by
            `"{join}"`, parts that are 0 left out. 0 seconds is `"0s"`. If there are days, the seconds are dropped: they are rounded
            to the nearest minute first, half a minute upwards (which may carry over into hours and days).
            """,
            f"""
            def written(seconds):
                if seconds >= 86400:
                    seconds = (seconds + 30) // 60 * 60
                parts = []
                for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
                    count, seconds = divmod(seconds, size)
                    if count:
                        parts.append(str(count) + unit)
                return "{join}".join(parts) or "0s"
            """,
            _calls("written", [[n] for n in [*seconds, 86429, 86430, 172770, 172769, 86370, 89970, 89969]]),
        )
    texts = [
        "0s",
        "5s",
        "90s",
        "1m",
        "1m30s",
        "2h",
        "1h1m1s",
        "1d",
        "3d4h",
        "100m",
        "1d23h59m59s",
        "0d0h0m1s",
        "25h",
        "1h0m5s",
        "007s",
    ]
    texts += [f"{rng.randint(0, 40)}h{rng.randint(0, 99)}m" for _ in range(4)] + [
        f"{rng.randint(1, 9)}d{rng.randint(0, 99)}s" for _ in range(4)
    ]
    texts += ["1h 30m", " 5s", "5s ", "2h  3s"]
    broken = ["", " ", "5", "s", "1x", "1m1h", "1s1s", "1h1h", "-1s", "1.5h", "1 h", "1hm", "5s1d", "1h-3m", "1H"]
    return _draft(
        """
        Write a function `parsed(text)` that reads a duration such as `"1d2h30m5s"` and returns its seconds. It has one to four
        parts, each a decimal number (digits 0-9) directly followed by one of the letters d, h, m, s (days, hours, minutes, seconds).
        The units must occur in this order, each at most once. Spaces may stand before, after and between parts, but not within
        one. A number may be larger than the next unit (`"90s"`) and may have leading zeros. Raise `ValueError` for any other text.
        """,
        """
        import re


        def parsed(text):
            match = re.fullmatch(r" *(?:([0-9]+)d *)?(?:([0-9]+)h *)?(?:([0-9]+)m *)?(?:([0-9]+)s *)?", text)
            if match is None or not text.strip():
                raise ValueError("not a duration")
            total = 0
            for number, size in zip(match.groups(), (86400, 3600, 60, 1)):
                total += int(number or 0) * size
            return total
        """,
        _calls("parsed", [[text] for text in [*texts, *broken]]),
    )


@template("code", cases=2)
def automata(rng: random.Random, k: int) -> Draft:
    """Cells that live by drawn rules, on a torus or a line."""
    if k == 0:
        rule = rng.choice([22, 30, 45, 54, 73, 90, 105, 110, 122, 150])
        inputs: list[list[Any]] = [
            ["", 3],
            ["#", 1],
            [".", 1],
            ["#", 0],
            ["##", 1],
            ["#.", 2],
            ["...#...", 1],
            ["...#...", 3],
            ["#######", 1],
        ]
        inputs += [["".join(rng.choice("#.") for _ in range(rng.randint(3, 16))), rng.randint(1, 6)] for _ in range(18)]
        table = ", ".join(
            f"{''.join('#' if n >> b & 1 else '.' for b in (2, 1, 0))} gives {'#' if rule >> n & 1 else '.'}"
            for n in range(7, -1, -1)
        )
        return _draft(
            f"""
            Write a function `evolve(cells, steps)`. `cells` is a string of `#` (alive) and `.` (dead), perhaps empty; it is closed to a
            ring, so the first cell is the right neighbour of the last. In each step every cell is replaced at the same time,
            according to itself and its two neighbours (left, itself, right): {table}. Return the string after `steps` steps.
            """,
            f"""
            def evolve(cells, steps):
                for _ in range(steps):
                    new = ""
                    for i in range(len(cells)):
                        left, right = cells[i - 1], cells[(i + 1) % len(cells)]
                        number = 4 * (left == "#") + 2 * (cells[i] == "#") + (right == "#")
                        new += "#" if {rule} >> number & 1 else "."
                    cells = new
                return cells
            """,
            _calls("evolve", inputs),
        )
    born = sorted(rng.sample(range(1, 7), 2))
    stays = sorted(rng.sample(range(8), 3))
    inputs = [
        [[], 2],
        [["#"], 1],
        [["..", ".."], 1],
        [["##", "##"], 1],
        [["...", ".#.", "..."], 1],
        [["...", "###", "..."], 2],
    ]
    for _ in range(16):
        rows, columns = rng.randint(2, 6), rng.randint(2, 6)
        inputs.append([["".join(rng.choice("#.") for _ in range(columns)) for _ in range(rows)], rng.randint(0, 3)])
    return _draft(
        f"""
        Write a function `evolve(rows, steps)`. `rows` is a list of equally long strings of `#` (alive) and `.` (dead), perhaps empty.
        Beyond the edges everything is dead. In each step all cells change at the same time. A cell has up to eight neighbours. A
        dead cell with {born[0]} or {born[1]} live neighbours becomes alive. A live cell stays alive with {stays[0]}, {stays[1]} or {stays[2]} live
        neighbours. Every other cell is dead afterwards. Return the rows after `steps` steps as a list of strings.
        """,
        f"""
        def evolve(rows, steps):
            for _ in range(steps):
                new = []
                for r in range(len(rows)):
                    line = ""
                    for c in range(len(rows[r])):
                        count = 0
                        for y in range(max(r - 1, 0), min(r + 2, len(rows))):
                            for x in range(max(c - 1, 0), min(c + 2, len(rows[r]))):
                                if (y, x) != (r, c) and rows[y][x] == "#":
                                    count += 1
                        alive = count in {tuple(stays)} if rows[r][c] == "#" else count in {tuple(born)}
                        line += "#" if alive else "."
                    new.append(line)
                rows = new
            return rows
        """,
        _calls("evolve", inputs),
    )
