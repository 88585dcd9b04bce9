"""Coding in SQL: questions about small databases, each with several databases that plausible wrong queries get wrong.

Gold rows are computed in Python from the data; the reference query is a second, independent way to the same rows. The
databases hold ties at the cut, NULLs, duplicates and whatever else tempts: ``wrong`` lists queries that look right, and a
test shows that each of them fails (``tests/test_bench_suite.py``).
"""

from __future__ import annotations

import datetime
import random
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from .case import CODING, Draft, Templates

QUERIES = Templates(CODING)
template = QUERIES.template

RULES = (
    "Write one SQLite query (SQLite 3.40 or newer, a single SELECT or WITH … SELECT) in one ```sql block. It is run on several "
    "hidden databases with this schema."
)
Row = tuple[Any, ...]
Data = dict[str, list[Row]]


def script(schema: str, data: Data) -> str:
    """SQL that makes the database."""
    lines = [schema]
    for table, rows in data.items():
        for row in rows:
            lines.append(f"INSERT INTO {table} VALUES ({', '.join(map(literal, row))});")
    return "\n".join(lines)


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def _draft(
    schema: str,
    question: str,
    query: str,
    databases: Sequence[Data],
    solve: Callable[[Data], list[Row]],
    wrong: Sequence[str],
    ordered: bool = False,
) -> Draft:
    schema, query = textwrap.dedent(schema).strip(), textwrap.dedent(query).strip()
    gold = {
        "scripts": [script(schema, data) for data in databases],
        "rows": [[list(row) for row in solve(data)] for data in databases],
        "ordered": ordered,
        "wrong": [textwrap.dedent(one).strip() for one in wrong],
    }
    task = f"{textwrap.dedent(question).strip()}\n\n```sql\n{schema}\n```\n\n{RULES}"
    return Draft(task, gold, f"```sql\n{query}\n```")


SHOP = """
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), day TEXT NOT NULL,
                         amount INTEGER NOT NULL);  -- day: YYYY-MM-DD, amount: cents
    CREATE TABLE refunds (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders(id), amount INTEGER NOT NULL);
"""


@template("sql", cases=2)
def top_spenders(rng: random.Random, k: int) -> Draft:
    """The top spenders of a month, without those who had many of their orders refunded."""
    year, month = rng.randint(2021, 2026), rng.randint(2, 11)
    first = datetime.date(year, month, 1)
    after = datetime.date(year, month + 1, 1)
    percent = rng.choice([40, 50]) if k == 0 else 50
    databases = [_shop(rng, first, after, tied=at == 1) for at in range(3)]

    def solve(data: Data) -> list[Row]:
        names: dict[Any, Any] = {row[0]: row[1] for row in data["users"]}
        refunded = {order for _, order, _ in data["refunds"]}
        back: Counter[int] = Counter()
        for _, order, amount in data["refunds"]:
            back[order] += amount
        spent: Counter[int] = Counter()
        orders: dict[int, list[int]] = defaultdict(list)
        for order, user, day, amount in data["orders"]:
            if first.isoformat() <= day < after.isoformat():
                spent[user] += amount - (back[order] if k else 0)
                orders[user].append(order)
        kept = [
            user for user, found in orders.items() if 100 * sum(o in refunded for o in found) <= percent * len(found)
        ]
        kept.sort(key=lambda user: (-spent[user], names[user], user))
        return [(names[user], spent[user]) for user in kept[:3]]

    net = (
        "Spending is the sum of the amounts of a user's orders of that month minus all refunds of these orders (an order may have several)."
        if k
        else "Spending is the sum of the amounts of a user's orders of that month; refunds are not subtracted from it."
    )
    per_order = "SELECT order_id, SUM(amount) AS back FROM refunds GROUP BY order_id"
    total = "SUM(o.amount) - SUM(COALESCE(r.back, 0))" if k else "SUM(o.amount)"
    window = f"o.day >= '{first}' AND o.day < '{after}'"
    query = f"""
        SELECT u.name, {total} AS spent
        FROM users u JOIN orders o ON o.user_id = u.id
        LEFT JOIN ({per_order}) r ON r.order_id = o.id
        WHERE {window}
        GROUP BY u.id
        HAVING 100 * COUNT(r.order_id) <= {percent} * COUNT(*)
        ORDER BY spent DESC, u.name
        LIMIT 3
    """
    return _draft(
        SHOP,
        f"""
        Write a SQL query that finds the top 3 users by spending in {first:%B %Y}, but exclude users for whom more than {percent} % of
        their orders of that month were refunded. An order counts as refunded if it has at least one refund, of whatever amount
        and made whenever. {net} Return the columns name and spending, highest spending first; users with equal spending
        are ordered by name. Names are unique.
        """,
        query,
        databases,
        solve,
        [
            query.replace(f"LEFT JOIN ({per_order}) r", "LEFT JOIN (SELECT order_id, amount AS back FROM refunds) r"),
            query.replace(f"<= {percent} *", f"< {percent} *"),
            query.replace(f"HAVING 100 * COUNT(r.order_id) <= {percent} * COUNT(*)", ""),
            query.replace(window, "1"),
            query.replace(f"o.day < '{after}'", f"o.day <= '{after}'"),
            query.replace("LEFT JOIN (", "JOIN ("),
            query.replace(total, "SUM(o.amount)" if k else "SUM(o.amount) - SUM(COALESCE(r.back, 0))"),
            query.replace("ORDER BY spent DESC, u.name", "ORDER BY spent DESC, u.name DESC"),
            query.replace("ORDER BY spent DESC", "ORDER BY spent"),
            query.replace(f"100 * COUNT(r.order_id) <= {percent} * COUNT(*)", f"100 * SUM(COALESCE(r.back, 0)) <= {percent} * SUM(o.amount)"),
        ],
        ordered=True,
    )  # fmt: skip


def _shop(rng: random.Random, first: datetime.date, after: datetime.date, tied: bool) -> Data:
    """A shop whose biggest spender refunded most orders, with exactly half and 40 % refunded, double refunds, edges of the month."""
    names = rng.sample(["Ada", "Bruno", "Clara", "Dario", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas"], 8)
    users: list[Row] = [(i + 1, name) for i, name in enumerate(names)]
    orders: list[Row] = []
    refunds: list[Row] = []

    def order(user: int, amount: int, day: datetime.date, *back: int) -> None:
        orders.append((len(orders) + 1, user, day.isoformat(), amount))
        for one in back:
            refunds.append((len(refunds) + 1, len(orders), one))

    def inside() -> datetime.date:
        return first + datetime.timedelta(days=rng.randint(0, (after - first).days - 1))

    base = rng.randint(30, 60) * 1000
    # 1: spent most, and three of four refunded, two of them by a trifle.
    for back in ((100,), (50, 50), (25,), ()):
        order(1, base, inside(), *back)
    # 2: exactly half refunded, one order twice, which doubles its amount in a careless join.
    for back in ((1000, 1000), (2000,), (), ()):
        order(2, base * 3 // 4, inside(), *back)
    # 3: exactly 40 % refunded, most of the money.
    for i in range(5):
        order(
            3, base * (5 if i < 2 else 1) // 5 + 100, inside(), *(((base,), (base // 2, base // 2))[i] if i < 2 else ())
        )
    # 4: no refund, on the first and the last day of the month.
    order(4, base, first)
    order(4, base * 3 // 4, after - datetime.timedelta(days=1))
    # 5: rich before and after the month, and on the first day after it.
    order(5, base // 10, inside())
    order(5, base * 9, first - datetime.timedelta(days=1), 10)
    order(5, base * 9, after)
    # 6 and 7: the cut; equal in the tied database.
    six = base * 3 // 2 + 7
    order(6, six, inside())
    order(7, six if tied else six - rng.randint(1, 6), inside())
    order(7, 0, inside(), 0)
    order(7, 0, inside())
    # 8: never ordered in the month.
    order(8, base * 8, first - datetime.timedelta(days=rng.randint(2, 20)))
    if tied:  # make the tie decide the third place
        orders = [(i, user, day, 100 if user == 3 else amount) for i, user, day, amount in orders]
        refunds = [(i, o, min(amount, 20)) for i, o, amount in refunds]
    rng.shuffle(orders)
    return {"users": users, "orders": orders, "refunds": refunds}


STAFF = """
    CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT NOT NULL, team TEXT, salary INTEGER);
    -- team is NULL for people without a team, salary is NULL where it is not known
"""


@template("sql", cases=1)
def second_salary(rng: random.Random, k: int) -> Draft:
    """Who earns the second highest salary of each team: ties, NULLs, teams with one salary."""
    place = rng.choice([2, 3])
    word = {2: "second", 3: "third"}[place]
    databases = []
    for _ in range(3):
        names = iter(
            rng.sample(
                [
                    "Ada",
                    "Bruno",
                    "Clara",
                    "Dario",
                    "Elena",
                    "Felix",
                    "Greta",
                    "Hugo",
                    "Irene",
                    "Jonas",
                    "Karla",
                    "Luis",
                    "Mona",
                    "Nils",
                    "Olga",
                    "Paul",
                    "Rosa",
                    "Sven",
                ],
                18,
            )
        )
        rows: list[Row] = []
        top = rng.randint(60, 90) * 100
        for team, salaries in (
            ("red", [top, top, top - 500, top - 500, top - 900, top - 1200]),
            ("blue", [top, top - 100, top - 200, top - 200, top - 400]),
            ("green", [top, top, top]),
            (None, [top, top - 300, top - 700]),
            ("grey", [None]),
        ):
            rows += [(0, next(names), team, salary) for salary in salaries]
        rng.shuffle(rows)
        databases.append({"staff": [(i + 1, *row[1:]) for i, row in enumerate(rows)]})

    def solve(data: Data) -> list[Row]:
        found: list[Row] = []
        for team in {row[2] for row in data["staff"]} - {None}:
            salaries = sorted({row[3] for row in data["staff"] if row[2] == team and row[3] is not None}, reverse=True)
            if len(salaries) >= place:
                found += [
                    (team, row[1], row[3]) for row in data["staff"] if row[2] == team and row[3] == salaries[place - 1]
                ]
        return found

    query = f"""
        SELECT team, name, salary FROM (
            SELECT team, name, salary, DENSE_RANK() OVER (PARTITION BY team ORDER BY salary DESC) AS place
            FROM staff WHERE team IS NOT NULL AND salary IS NOT NULL
        ) WHERE place = {place}
    """
    return _draft(
        STAFF,
        f"""
        For each team, find everybody who earns the {word} highest of the different known salaries in that team. Return team, name
        and salary, in any order. A team with fewer than {place} different known salaries has nobody; people without a team are
        left out.
        """,
        query,
        databases,
        solve,
        [
            query.replace("DENSE_RANK", "RANK"),
            query.replace("DENSE_RANK", "ROW_NUMBER"),
            query.replace("team IS NOT NULL AND ", ""),
            query.replace("PARTITION BY team ", ""),
            query.replace("salary DESC", "salary"),
            query.replace(f"place = {place}", f"place <= {place}"),
        ],
    )


@template("sql", cases=1)
def streaks(rng: random.Random, k: int) -> Draft:
    """The longest run of consecutive days, with several visits a day."""
    schema = "CREATE TABLE visits (user_id INTEGER NOT NULL, moment TEXT NOT NULL);  -- moment: YYYY-MM-DD HH:MM"
    least = rng.choice([2, 3])
    databases = []
    for at in range(3):
        rows: list[Row] = []
        for user in range(1, 7):
            day = datetime.date(2025, rng.choice([1, 2, 12]), rng.randint(20, 27))
            for run in rng.sample([1, 2, 3, 4, 5], 3) if user < 6 else [1]:
                for _ in range(run):
                    for _ in range(rng.choice([1, 1, 2, 3])):
                        rows.append((user, f"{day} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}"))
                    day += datetime.timedelta(days=1)
                day += datetime.timedelta(days=rng.randint(1, 2))
        rows += [(8, f"2025-03-{5 + i:02} 12:00") for i in range(least)]
        if at == 1:
            rows += [(9, "2024-02-28 09:00"), (9, "2024-02-29 09:00"), (9, "2024-03-01 09:00")]
        rng.shuffle(rows)
        databases.append({"visits": rows})

    def solve(data: Data) -> list[Row]:
        days: dict[int, set[datetime.date]] = defaultdict(set)
        for user, moment in data["visits"]:
            days[user].add(datetime.date.fromisoformat(moment[:10]))
        found = []
        for user, seen in days.items():
            best = 0
            for day in seen:
                length = 0
                while day + datetime.timedelta(days=length) in seen:
                    length += 1
                best = max(best, length)
            if best >= least:
                found.append((user, best))
        return found

    query = f"""
        WITH days AS (SELECT DISTINCT user_id, date(moment) AS day FROM visits),
        runs AS (
            SELECT user_id, julianday(day) - ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY day) AS run FROM days
        ),
        lengths AS (SELECT user_id, COUNT(*) AS length FROM runs GROUP BY user_id, run)
        SELECT user_id, MAX(length) AS longest FROM lengths GROUP BY user_id HAVING MAX(length) >= {least}
    """
    return _draft(
        schema,
        f"""
        For each user, find the largest number of consecutive calendar days with at least one visit on each. Return user_id and
        that number, in any order, only for users for whom it is at least {least}.
        """,
        query,
        databases,
        solve,
        [
            query.replace("SELECT DISTINCT", "SELECT"),
            query.replace(f">= {least}", f"> {least}"),
            query.replace("MAX(length) AS longest", "SUM(length) AS longest"),
            query.replace(f" HAVING MAX(length) >= {least}", ""),
            f"SELECT user_id, COUNT(DISTINCT date(moment)) FROM visits GROUP BY user_id HAVING COUNT(DISTINCT date(moment)) >= {least}",
        ],
    )


@template("sql", cases=1)
def bought_together(rng: random.Random, k: int) -> Draft:
    """Pairs of products in the same basket."""
    schema = "CREATE TABLE items (basket INTEGER NOT NULL, product TEXT NOT NULL, pieces INTEGER NOT NULL);"
    least = rng.choice([2, 3])
    databases = []
    for _ in range(3):
        rows: list[Row] = []
        for basket in range(1, 13):
            for product in rng.sample(["apple", "bread", "cheese", "date", "egg"], rng.randint(1, 4)):
                rows.append((basket, product, rng.randint(1, 5)))
                if rng.random() < 0.3:
                    rows.append((basket, product, 1))  # the same product on two lines of one basket
        rng.shuffle(rows)
        databases.append({"items": rows})

    def solve(data: Data) -> list[Row]:
        baskets: dict[int, set[str]] = defaultdict(set)
        for basket, product, _ in data["items"]:
            baskets[basket].add(product)
        pairs: Counter[tuple[str, str]] = Counter()
        for products in baskets.values():
            pairs.update((a, b) for a in products for b in products if a < b)
        return [(a, b, n) for (a, b), n in pairs.items() if n >= least]

    query = f"""
        SELECT a.product, b.product, COUNT(DISTINCT a.basket) AS baskets
        FROM items a JOIN items b ON a.basket = b.basket AND a.product < b.product
        GROUP BY a.product, b.product HAVING COUNT(DISTINCT a.basket) >= {least}
    """
    return _draft(
        schema,
        f"""
        A product may be on several lines of the same basket. For each pair of different products, count the baskets that hold
        both. Return the first product, the second product (the first before the second in alphabetical order, so each pair
        occurs once) and the count, for pairs found in at least {least} baskets, in any order.
        """,
        query,
        databases,
        solve,
        [
            query.replace("COUNT(DISTINCT a.basket)", "COUNT(*)"),
            query.replace("a.product < b.product", "a.product <> b.product"),
            query.replace("a.product < b.product", "a.product <= b.product"),
            query.replace(f">= {least}", f"> {least}"),
            query.replace("COUNT(DISTINCT a.basket)", "SUM(a.pieces)"),
        ],
    )


@template("sql", cases=1)
def never_assigned(rng: random.Random, k: int) -> Draft:
    """Who is missing from a table, where NOT IN meets NULL and a left join meets conditions."""
    schema = """
    CREATE TABLE drivers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE trips (id INTEGER PRIMARY KEY, driver_id INTEGER, helper_id INTEGER, km INTEGER);
    -- driver_id and helper_id refer to drivers or are NULL, km is NULL where it was not noted
    """
    far = rng.choice([100, 150, 200])
    databases = []
    for _ in range(3):
        names = rng.sample(["Ada", "Bruno", "Clara", "Dario", "Elena", "Felix", "Greta", "Hugo"], 8)
        trips: list[Row] = [
            (1, 1, None, far + 50), (2, 1, 2, far - 20), (3, 3, 4, None), (4, None, 5, far + 10), (5, 6, None, far),
            (6, 7, 3, far - 1), (7, None, None, far + 90), (8, 2, 6, rng.randint(10, far - 1)), (9, 7, 1, far - 30),
        ]  # fmt: skip
        databases.append({"drivers": [(i + 1, name) for i, name in enumerate(names)], "trips": trips})

    def solve(data: Data) -> list[Row]:
        drove: Counter[int] = Counter()
        long_trip = set()
        for _, driver, helper, km in data["trips"]:
            drove[driver] += km or 0
            if km is not None and km >= far:
                long_trip |= {driver, helper}
        return [(name, drove[i]) for i, name in data["drivers"] if i not in long_trip]

    query = f"""
        SELECT d.name, COALESCE((SELECT SUM(t.km) FROM trips t WHERE t.driver_id = d.id), 0) AS km
        FROM drivers d
        WHERE NOT EXISTS (
            SELECT 1 FROM trips t WHERE t.km >= {far} AND (t.driver_id = d.id OR t.helper_id = d.id)
        )
    """
    return _draft(
        schema,
        f"""
        Find the drivers who took part in no trip of {far} km or more, neither as driver nor as helper (a trip whose length was not
        noted does not count as such a trip). Return each one's name and the total of the noted kilometres of all trips he or she
        drove (not helped on), 0 if there are none, in any order.
        """,
        query,
        databases,
        solve,
        [
            query.replace(" OR t.helper_id = d.id", ""),
            query.replace(f">= {far}", f"> {far}"),
            query.replace("COALESCE((SELECT SUM(t.km) FROM trips t WHERE t.driver_id = d.id), 0)",
                          "(SELECT SUM(t.km) FROM trips t WHERE t.driver_id = d.id)"),
            f"SELECT d.name, SUM(t.km) FROM drivers d JOIN trips t ON t.driver_id = d.id WHERE t.km < {far} GROUP BY d.id",
            f"""SELECT d.name, COALESCE((SELECT SUM(t.km) FROM trips t WHERE t.driver_id = d.id), 0) FROM drivers d WHERE d.id NOT IN
            (SELECT driver_id FROM trips WHERE km >= {far} UNION SELECT helper_id FROM trips WHERE km >= {far})""",
        ],
    )  # fmt: skip
