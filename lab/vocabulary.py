"""The vocabulary of the lab's dataset: entities and columns, in SQL, Chinese and English."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        sql: Its name in SQL.
        zh: Its name in Chinese.
        en: Its name in English.
        values: Texts that it may hold; empty for a number.
        span: Smallest and largest number that it may hold; unused for a text.
    """

    sql: str
    zh: str
    en: str
    values: tuple[str, ...] = ()
    span: tuple[int, int] = (0, 0)

    @property
    def is_text(self) -> bool:
        """Whether it holds texts rather than numbers."""
        return bool(self.values)

    @property
    def ddl(self) -> str:
        """Its part of CREATE TABLE."""
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
