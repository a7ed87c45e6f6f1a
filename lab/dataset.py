"""The lab's data set: bilingual questions over small schemas, in the shape question / context / answer.

Made here, deterministically, so that the lab needs no download and a test can name every row. It has
the shape of `jtjt520j/CSpider_and_DUSQL_sql_create_context`, and two revisions: the second adds tables
to the first, as a data set does that grows. Nothing is held out here; the chain splits by database.

    python lab/dataset.py OUT_DIR        # writes r1.jsonl and r2.jsonl
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 20260914
TABLES_IN_FIRST_REVISION = 40


@dataclass(frozen=True)
class Column:
    """A column: its name in SQL, in Chinese and in English, and values it may hold (none: numbers)."""

    sql: str
    zh: str
    en: str
    values: tuple[str, ...] = ()
    span: tuple[int, int] = (0, 0)

    @property
    def is_text(self) -> bool:
        return bool(self.values)

    @property
    def ddl(self) -> str:
        return f"{self.sql} {'VARCHAR' if self.is_text else 'INTEGER'}"


TEXT_COLUMNS = (
    Column("name", "名称", "name", ("晨光", "远航", "Aurora", "蓝天", "Harbor", "新星", "Cedar", "东风")),
    Column("city", "城市", "city", ("北京", "上海", "杭州", "成都", "西安", "Lincoln", "Omaha", "Denver")),
    Column("country", "国家", "country", ("中国", "法国", "日本", "巴西", "Kenya", "Spain")),
    Column("type", "类型", "type", ("公立", "私立", "小型", "大型", "public", "private")),
    Column("color", "颜色", "color", ("红色", "蓝色", "绿色", "black", "white")),
    Column("status", "状态", "status", ("正常", "停用", "open", "closed", "pending")),
    Column("manager", "经理", "manager", ("王伟", "李娜", "张敏", "Smith", "Garcia")),
    Column("language", "语言", "language", ("中文", "英语", "法语", "Spanish", "German")),
    Column("gender", "性别", "gender", ("男", "女", "male", "female")),
    Column("class", "等级", "class", ("A", "B", "C1", "D", "甲级", "乙级")),
    Column("region", "地区", "region", ("华东", "华北", "西南", "north", "south")),
    Column("material", "材料", "material", ("木材", "钢", "玻璃", "cotton", "steel")),
)
NUMBER_COLUMNS = (
    Column("age", "年龄", "age", span=(18, 80)),
    Column("price", "价格", "price", span=(5, 900)),
    Column("year", "年份", "year", span=(1950, 2024)),
    Column("weight", "重量", "weight", span=(2, 500)),
    Column("height", "高度", "height", span=(40, 320)),
    Column("score", "分数", "score", span=(10, 100)),
    Column("capacity", "容量", "capacity", span=(20, 5000)),
    Column("salary", "工资", "salary", span=(2000, 30000)),
    Column("population", "人口", "population", span=(100, 90000)),
    Column("area", "面积", "area", span=(10, 4000)),
    Column("speed", "速度", "speed", span=(20, 400)),
    Column("budget", "预算", "budget", span=(100, 9000)),
    Column("creation", "成立年份", "year of creation", span=(1950, 2024)),
    Column("frequency", "频率", "frequency", span=(60, 110)),
)
ENTITIES = (
    ("student", "学生", "students"),
    ("school", "学校", "schools"),
    ("teacher", "教师", "teachers"),
    ("bridge", "桥梁", "bridges"),
    ("hospital", "医院", "hospitals"),
    ("doctor", "医生", "doctors"),
    ("patient", "病人", "patients"),
    ("ship", "船", "ships"),
    ("flight", "航班", "flights"),
    ("airport", "机场", "airports"),
    ("hotel", "酒店", "hotels"),
    ("restaurant", "餐厅", "restaurants"),
    ("book", "书", "books"),
    ("author", "作者", "authors"),
    ("movie", "电影", "movies"),
    ("singer", "歌手", "singers"),
    ("song", "歌曲", "songs"),
    ("concert", "音乐会", "concerts"),
    ("stadium", "体育场", "stadiums"),
    ("player", "球员", "players"),
    ("team", "球队", "teams"),
    ("coach", "教练", "coaches"),
    ("museum", "博物馆", "museums"),
    ("painting", "画", "paintings"),
    ("park", "公园", "parks"),
    ("river", "河流", "rivers"),
    ("mountain", "山", "mountains"),
    ("factory", "工厂", "factories"),
    ("product", "产品", "products"),
    ("customer", "客户", "customers"),
    ("invoice", "发票", "invoices"),
    ("shop", "商店", "shops"),
    ("farm", "农场", "farms"),
    ("animal", "动物", "animals"),
    ("dog", "狗", "dogs"),
    ("train", "火车", "trains"),
    ("station", "车站", "stations"),
    ("driver", "司机", "drivers"),
    ("car", "汽车", "cars"),
    ("phone", "手机", "phones"),
    ("company", "公司", "companies"),
    ("employee", "员工", "employees"),
    ("project", "项目", "projects"),
    ("course", "课程", "courses"),
    ("exam", "考试", "exams"),
    ("league", "联赛", "leagues"),
    ("bank", "银行", "banks"),
    ("account", "账户", "accounts"),
    ("library", "图书馆", "libraries"),
    ("theater", "剧院", "theaters"),
    ("festival", "节日", "festivals"),
    ("village", "村庄", "villages"),
    ("building", "建筑", "buildings"),
    ("camera", "相机", "cameras"),
    ("warehouse", "仓库", "warehouses"),
    ("device", "设备", "devices"),
    ("club", "俱乐部", "clubs"),
    ("magazine", "杂志", "magazines"),
    ("lake", "湖泊", "lakes"),
    ("agency", "机构", "agencies"),
)


@dataclass(frozen=True)
class Table:
    """One schema: a table, what its rows are called, and its columns."""

    sql: str
    zh: str
    en: str
    columns: tuple[Column, ...]

    @property
    def context(self) -> str:
        return f"CREATE TABLE {self.sql} ({', '.join(c.ddl for c in self.columns)})"


def tables(rng: random.Random) -> list[Table]:
    """Every schema of the data set: each entity with one to four columns; every fourth table has a number for a name."""
    found = []
    for number, (sql, zh, en) in enumerate(ENTITIES):
        texts = rng.sample(TEXT_COLUMNS, rng.choice((0, 1, 2, 2)))
        numbers = rng.sample(NUMBER_COLUMNS, rng.choice((1, 1, 2, 2)))
        columns = [*texts, *numbers]
        rng.shuffle(columns)
        # Every fourth table has no name of its own, as in WikiSQL: the columns alone say what it is about.
        table = f"table_name_{13 + number}" if number % 4 == 3 else sql
        found.append(Table(table, zh, en, tuple(columns)))
    rng.shuffle(found)
    return found


def _literal(column: Column, rng: random.Random) -> tuple[str, str]:
    """A value as it stands in the question, and as it stands in the SQL."""
    if column.is_text:
        value = rng.choice(column.values)
        return value, f"'{value}'"
    value = str(rng.randint(*column.span))
    return value, value


def questions(table: Table, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Question in Chinese, the same in English, and the answer: every pattern over every fitting column."""
    texts = [c for c in table.columns if c.is_text]
    numbers = [c for c in table.columns if not c.is_text]
    t, zh, en = table.sql, table.zh, table.en
    yield f"一共有多少{zh}？", f"How many {en} are there?", f"SELECT COUNT(*) FROM {t}"
    for c in numbers:
        said, sql = _literal(c, rng)
        yield (
            f"{zh}中有多少{c.zh}大于{said}？",
            f"How many {en} have a {c.en} larger than {said}?",
            f"SELECT COUNT(*) FROM {t} WHERE {c.sql} > {sql}",
        )
        said, sql = _literal(c, rng)
        yield (
            f"有多少{zh}的{c.zh}小于{said}？",
            f"How many {en} have a {c.en} less than {said}?",
            f"SELECT COUNT(*) FROM {t} WHERE {c.sql} < {sql}",
        )
        yield (
            f"{zh}的平均{c.zh}是多少？",
            f"What is the average {c.en} of the {en}?",
            f"SELECT AVG({c.sql}) FROM {t}",
        )
        yield (
            f"{zh}的最大{c.zh}是多少？",
            f"What is the maximum {c.en} of the {en}?",
            f"SELECT MAX({c.sql}) FROM {t}",
        )
        yield (
            f"{zh}的最小{c.zh}是多少？",
            f"What is the minimum {c.en} of the {en}?",
            f"SELECT MIN({c.sql}) FROM {t}",
        )
    for c in table.columns:
        asked = f"大多数{zh}在哪一年成立？" if c.sql == "creation" else f"大多数{zh}的{c.zh}是什么？"
        yield (
            asked,
            f"What is the most common {c.en} of the {en}?",
            f"SELECT {c.sql} FROM {t} GROUP BY {c.sql} ORDER BY COUNT(*) DESC LIMIT 1",
        )
        yield (
            f"哪个{c.zh}的{zh}最多？",
            f"Which {c.en} has the most {en}?",
            f"SELECT {c.sql} FROM {t} GROUP BY {c.sql} ORDER BY COUNT(*) DESC LIMIT 1",
        )
        yield (
            f"{zh}有哪些不同的{c.zh}？",
            f"What are the different {c.en} values of the {en}?",
            f"SELECT DISTINCT {c.sql} FROM {t}",
        )
        yield (
            f"每个{c.zh}有多少{zh}？",
            f"How many {en} are there for each {c.en}?",
            f"SELECT {c.sql}, COUNT(*) FROM {t} GROUP BY {c.sql}",
        )
    for c in texts:
        said, sql = _literal(c, rng)
        yield (
            f"有多少{zh}的{c.zh}是{said}？",
            f"How many {en} have a {c.en} of {said}?",
            f"SELECT COUNT(*) FROM {t} WHERE {c.sql} = {sql}",
        )
        for other in table.columns:
            if other is c:
                continue
            said, sql = _literal(c, rng)
            yield (
                f"{c.zh}为{said}的{zh}的{other.zh}是什么？",
                f"What is the {other.en} of the {en} with a {c.en} of {said}?",
                f"SELECT {other.sql} FROM {t} WHERE {c.sql} = {sql}",
            )
        for n in numbers:
            yield (
                f"{n.zh}最高的{zh}的{c.zh}是什么？",
                f"What is the {c.en} of the {en} with the highest {n.en}?",
                f"SELECT {c.sql} FROM {t} ORDER BY {n.sql} DESC LIMIT 1",
            )
            yield (
                f"按{n.zh}升序列出{zh}的{c.zh}。",
                f"List the {c.en} of the {en} in ascending order of {n.en}.",
                f"SELECT {c.sql} FROM {t} ORDER BY {n.sql}",
            )
            said, sql = _literal(n, rng)
            yield (
                f"{n.zh}大于{said}的{zh}的{c.zh}有哪些？",
                f"List the {c.en} of the {en} with a {n.en} larger than {said}.",
                f"SELECT {c.sql} FROM {t} WHERE {n.sql} > {sql}",
            )
            for other in texts:
                if other is c:
                    continue
                said, sql = _literal(n, rng)
                place, place_sql = _literal(other, rng)
                yield (
                    f"哪个{c.zh}的{n.zh}大于{said}，并且{other.zh}是{place}？",
                    f"Which {c.en} has a {n.en} larger than {said}, and a {other.en} of {place}?",
                    f"SELECT {c.sql} FROM {t} WHERE {n.sql} > {sql} AND {other.sql} = {place_sql}",
                )


def rows(revision: int) -> list[dict[str, str]]:
    """The rows of one revision (1 or 2): two thirds of the questions in Chinese, the rest in English."""
    rng = random.Random(SEED)
    chosen = tables(rng)
    if revision == 1:
        chosen = chosen[:TABLES_IN_FIRST_REVISION]
    found = []
    for table in chosen:
        for chinese, english, answer in questions(table, random.Random(f"{SEED}-{table.sql}")):
            language_rng = random.Random(f"{table.sql}-{answer}")
            asked = chinese if language_rng.random() < 2 / 3 else english
            found.append({"question": asked, "context": table.context, "answer": answer})
    random.Random(SEED + revision).shuffle(found)
    return found


def mislabelled(found: list[dict[str, str]], percent: int) -> list[dict[str, str]]:
    """The same rows, those that are trained on with the answer to another question about their table: what a slip in a data set's build does.

    :param percent: share of the databases that is held out; their rows stay as they are, since a model is judged by them.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
    from sqltune.dataset.split import database, held_out

    of_table: dict[str, list[int]] = {}
    for i, row in enumerate(found):
        if not held_out(database(row["context"]), percent):
            of_table.setdefault(row["context"], []).append(i)
    wrong = list(found)
    for rows_of_it in of_table.values():
        for i, other in zip(rows_of_it, [*rows_of_it[1:], rows_of_it[0]], strict=True):
            wrong[i] = found[i] | {"answer": found[other]["answer"]}
    return wrong


def to_jsonl(found: list[dict[str, str]]) -> str:
    """Rows as JSON lines, Chinese left readable."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for revision in (1, 2):
        (out / f"r{revision}.jsonl").write_text(to_jsonl(rows(revision)), encoding="utf-8")
