"""kith against an exact engine: the Python client's local in-memory mode.

The same unmodified client sends the same seeded calls to QdrantClient(":memory:") and to a fresh
kith; answers are compared, floats with a tolerance, ties in any order. A call that one refuses and
the other answers is a difference. Prints the seed and number of every difference: SEED=n COUNT=m repeat it.

    make differential         DIFFERENTIAL_SECONDS=120, the seed of the day's date
    tests/local_test.py --kinds recommend,groups --seed 7 --count 2000

Needs qdrant-client (make differential puts it into build/clients/venv)."""
import argparse
import json
import os
import random
import sys
import time
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import kith  # noqa: E402

import numpy as np  # noqa: E402
from qdrant_client import QdrantClient, models  # noqa: E402
from qdrant_client.http.exceptions import UnexpectedResponse  # noqa: E402

warnings.simplefilter("ignore")

# Where local mode is not what the contract (and the server it imitates) says. A call is kept off
# these places by the generator named; the reason says why local mode is the odd one.
KNOWN = {
    "recommend_threshold_on_distances": (
        "scores of best_score, sum_scores, discover and context are larger-is-better for every "
        "distance; local mode compares them with score_threshold as it compares distances"),
    "group_prefetch_limit": (
        "local mode raises the limits of a group query's prefetches to the point count; kith, as "
        "the server, multiplies them by group_size"),
    "should_of_both_levels": (
        "local mode merges the should clauses of a query's filter and its prefetch's into one "
        "list of alternatives, so that a result may violate either; kith holds both"),
    "is_null_of_lists": (
        "the newest local mode takes an array that holds a null for null; the contract (1.19) only a null itself"),
    "negative_counts": "values_count takes unsigned integers; local mode any",
    "random_sample": "a random sample is compared as a set: right size, right points, no repeats",
}

RELATIVE, ABSOLUTE = 2e-4, 2e-5


# ---- points ----

COLORS = ["red", "green", "blue", "black", "grün", "青"]
WORDS = ["quick", "brown", "fox", "lazy", "dog", "jumps", "over", "the", "fence", "river"]
TAGS = ["a", "b", "c", "d", "e"]
IDS = 400  # a quarter of them UUIDs; nine of ten are there in the beginning


class Maker:
    """Everything random, from one seed."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.n = np.random.default_rng(seed)

    def vector(self, dim):
        return [float(x) for x in self.n.standard_normal(dim).astype(np.float32)]

    def multi(self, dim):
        return [self.vector(dim) for _ in range(self.r.randint(1, 4))]

    def sparse(self, terms=40):
        count = self.r.randint(1, 8)
        indices = sorted(self.r.sample(range(terms), count))
        values = [float(np.float32(self.r.uniform(-0.3, 2))) for _ in indices]
        return models.SparseVector(indices=indices, values=values)

    def date(self):
        text = "20%02d-%02d-%02d" % (self.r.randint(10, 30), self.r.randint(1, 12), self.r.randint(1, 28))
        if self.r.random() < 0.7:
            text += "T%02d:%02d:%02d" % (self.r.randint(0, 23), self.r.randint(0, 59), self.r.randint(0, 59))
            text += self.r.choice(["Z", "+01:00", "-05:30", ".25Z", ""])
        return text

    def place(self):
        return {"lon": round(self.r.uniform(-179, 179), 3), "lat": round(self.r.uniform(-85, 85), 3)}

    def payload(self):
        r = self.r
        p = {}
        if r.random() < 0.9:
            p["color"] = r.choice(COLORS) if r.random() < 0.8 else r.sample(COLORS, r.randint(0, 3))
        if r.random() < 0.9:
            p["n"] = r.randint(-5, 12) if r.random() < 0.8 else [r.randint(-5, 12) for _ in range(r.randint(0, 3))]
        if r.random() < 0.9:
            p["price"] = round(r.uniform(0, 100), 2)
        if r.random() < 0.8:
            p["flag"] = r.random() < 0.5
        if r.random() < 0.8:
            p["when"] = self.date()
        if r.random() < 0.8:
            p["city"] = {"name": r.choice(WORDS), "loc": self.place(), "size": r.randint(1, 4)}
        if r.random() < 0.8:
            p["tags"] = r.sample(TAGS, r.randint(0, 4))
        if r.random() < 0.6:
            p["items"] = [{"a": r.randint(0, 4), "b": r.choice(TAGS)} for _ in range(r.randint(0, 3))]
        if r.random() < 0.7:
            p["text"] = " ".join(r.choice(WORDS) for _ in range(r.randint(1, 6)))
        if r.random() < 0.3:
            p["maybe"] = r.choice([None, [], 0, "", [1, 2], {}])
        if r.random() < 0.3:
            p["nulls"] = r.choice([None, [], [None], [1, None], [[], None]])
        return p

    def id(self):
        return self.id_of(self.r.randint(0, IDS - 1))

    def id_of(self, number):
        return number if number < IDS * 3 // 4 else "00000000-0000-4000-8000-%012x" % number

    def some(self, low, high):
        return range(self.r.randint(low, high))

    # ---- filters ----

    def range(self, value, step):
        r = self.r
        keys = r.sample(["lt", "lte", "gt", "gte"], r.randint(1, 2))
        out = {}
        for key in keys:
            out[key] = value + r.uniform(-step, step) if isinstance(value, float) else value + r.randint(-step, step)
        return out

    def field(self):
        r = self.r
        m = models
        match = lambda key, value: m.FieldCondition(key=key, match=value)  # noqa: E731
        color = lambda: r.choice(COLORS)  # noqa: E731
        pick = r.randint(0, 21)
        if pick == 0:
            return match("color", m.MatchValue(value=color()))
        if pick == 1:
            return match("color", m.MatchAny(any=[color() for _ in self.some(0, 3)]))
        if pick == 2:
            return match("color", m.MatchExcept(**{"except": [color() for _ in self.some(1, 3)]}))
        if pick == 3:
            return match("n", m.MatchValue(value=r.randint(-5, 12)))
        if pick == 4:
            return match("n", m.MatchAny(any=[r.randint(-5, 12) for _ in self.some(1, 4)]))
        if pick == 5:
            return match("flag", m.MatchValue(value=r.random() < 0.5))
        if pick == 6:
            return match("text", m.MatchText(text=r.choice(WORDS)))
        if pick == 7:
            return m.FieldCondition(key="n", range=m.Range(**self.range(r.randint(-5, 12), 4)))
        if pick == 8:
            return m.FieldCondition(key="price", range=m.Range(**self.range(r.uniform(0, 100), 30.0)))
        if pick == 9:
            return m.FieldCondition(key="when", range=m.DatetimeRange(
                **{k: self.date() for k in r.sample(["lt", "lte", "gt", "gte"], r.randint(1, 2))}))
        if pick == 10:
            place = self.place()
            return m.FieldCondition(key="city.loc", geo_radius=m.GeoRadius(
                center=m.GeoPoint(**place), radius=r.uniform(1e5, 8e6)))
        if pick == 11:
            west, east = sorted((r.uniform(-170, 170), r.uniform(-170, 170)))
            south, north = sorted((r.uniform(-80, 80), r.uniform(-80, 80)))
            return m.FieldCondition(key="city.loc", geo_bounding_box=m.GeoBoundingBox(
                top_left=m.GeoPoint(lon=west, lat=north), bottom_right=m.GeoPoint(lon=east, lat=south)))
        if pick == 12:
            lon, lat, size = r.uniform(-90, 90), r.uniform(-40, 40), r.uniform(10, 45)
            corners = [(lon - size, lat - size), (lon + size, lat - size), (lon, lat + size), (lon - size, lat - size)]
            return m.FieldCondition(key="city.loc", geo_polygon=m.GeoPolygon(exterior=m.GeoLineString(
                points=[m.GeoPoint(lon=x, lat=y) for x, y in corners])))
        if pick == 13:
            return m.FieldCondition(key=r.choice(["tags", "n", "color", "items"]),
                                    values_count=m.ValuesCount(**{k: max(0, v) for k, v in self.range(r.randint(0, 3), 2).items()}))
        if pick == 14:
            return m.IsEmptyCondition(is_empty=m.PayloadField(key=r.choice(["maybe", "nulls", "tags", "city.name", "items[].a"])))
        if pick == 15:
            return m.IsNullCondition(is_null=m.PayloadField(key=r.choice(["maybe", "tags", "color"])))
        if pick == 16:
            return m.HasIdCondition(has_id=[self.id() for _ in self.some(1, 60)])
        if pick == 17:
            return m.NestedCondition(nested=m.Nested(key="items", filter=m.Filter(must=[
                match("a", m.MatchValue(value=r.randint(0, 4))), match("b", m.MatchValue(value=r.choice(TAGS)))])))
        if pick == 18:
            return match(r.choice(["items[].b", "tags[]", "tags", "tags[0]"]), m.MatchValue(value=r.choice(TAGS)))
        if pick == 19:
            return match("text", m.MatchTextAny(text_any=" ".join(r.choice(WORDS) for _ in self.some(1, 3))))
        if pick == 20:
            return match("text", m.MatchPhrase(phrase=" ".join(r.choice(WORDS) for _ in self.some(1, 2))))
        return match("city.size", m.MatchValue(value=r.randint(1, 4)))

    def condition(self, depth):
        if depth > 0 and self.r.random() < 0.2:
            return self.filter(depth - 1)
        return self.field()

    def filter(self, depth=2, should=True):
        r = self.r
        out = {}
        for clause, chance in (("must", 0.6), ("must_not", 0.35), ("should", 0.45 if should else 0)):
            if r.random() < chance:
                out[clause] = [self.condition(depth) for _ in self.some(1, 3)]
        if should and r.random() < 0.1:
            conditions = [self.condition(depth) for _ in self.some(2, 4)]
            out["min_should"] = models.MinShould(conditions=conditions, min_count=r.randint(1, len(conditions)))
        return models.Filter(**out)

    def maybe_filter(self, chance=0.5, should=True):
        return self.filter(should=should) if self.r.random() < chance else None

    # ---- what to show ----

    def shown(self):
        r = self.r
        payload = r.choice([True, False, ["color"], ["city.name", "items[].a"],
                            models.PayloadSelectorExclude(exclude=["text", "city.loc"])])
        return {"with_payload": payload, "with_vectors": r.random() < 0.2}


# ---- comparing ----

class Difference(Exception):
    pass


def close(a, b):
    return abs(a - b) <= ABSOLUTE + RELATIVE * max(abs(a), abs(b))


def plain(x):
    """Replies as JSON-like values; None and absent are one."""
    if hasattr(x, "model_dump"):
        x = x.model_dump()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return x


def same(a, b, path=""):
    """Deep equality with a tolerance for floats."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        if a is not b and a != b:
            raise Difference("%s: %r, %r" % (path, a, b))
    elif isinstance(a, (int, float)) and isinstance(b, (int, float)):
        if not close(a, b):
            raise Difference("%s: %r, %r" % (path, a, b))
    elif isinstance(a, dict) and isinstance(b, dict):
        if set(a) != set(b):
            raise Difference("%s: keys %r, %r" % (path, sorted(a), sorted(b)))
        for key in a:
            same(a[key], b[key], path + "." + key)
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            raise Difference("%s: %d items, %d items" % (path, len(a), len(b)))
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, "%s[%d]" % (path, i))
    elif a != b:
        raise Difference("%s: %r, %r" % (path, a, b))


def by_key(points):
    return sorted(points, key=lambda p: str(p["id"]))


def runs(points, value):
    """Maximal runs of points whose neighbours have close values."""
    out = []
    for point in points:
        if out and close(value(out[-1][-1]), value(point)):
            out[-1].append(point)
        else:
            out.append([point])
    return out


def ranked(local, remote, path="", value=lambda p: p["score"], cut=True):
    """Two ranked lists: the same scores at the same places; within a tie any order; at the end
    (and behind an offset at the beginning) other points of the same score."""
    a, b = plain(local), plain(remote)
    for point in a + b:
        point.pop("version", None)
        point.pop("shard_key", None)
    if len(a) != len(b):
        raise Difference("%s: %d points, %d points: %r, %r" % (
            path, len(a), len(b), [p["id"] for p in a], [p["id"] for p in b]))
    for i, (x, y) in enumerate(zip(a, b)):
        if not close(value(x), value(y)):
            raise Difference("%s[%d]: %r scores %r, %r scores %r" % (path, i, x["id"], value(x), y["id"], value(y)))
    begin = 0
    groups = runs(a, value)
    for number, group in enumerate(groups):
        end = begin + len(group)
        x, y = by_key(group), by_key(b[begin:end])
        if [p["id"] for p in x] == [p["id"] for p in y]:
            same(x, y, "%s[%d..%d]" % (path, begin, end))
        elif not (cut and number in (0, len(groups) - 1)):
            raise Difference("%s[%d..%d]: ids %r, %r" % (path, begin, end, [p["id"] for p in x], [p["id"] for p in y]))
        begin = end


# ---- calls: each makes (method, arguments, comparison) ----

class Calls:
    def __init__(self, maker, sets):
        self.m = maker
        self.sets = sets  # name: what a collection has

    def where(self, dense=True):
        """A collection and a dense vector of it: (name, using, dim, distance, exact)."""
        name = self.m.r.choice([n for n in self.sets if self.sets[n]["dense"]])
        using = self.m.r.choice(sorted(self.sets[name]["dense"]))
        dim, distance = self.sets[name]["dense"][using]
        return name, using or None, dim, distance

    def exact(self, dim):
        return models.SearchParams(exact=True) if dim >= 32 else None

    def example(self, dim):
        return self.m.id() if self.m.r.random() < 0.4 else self.m.vector(dim)

    def page(self):
        r = self.m.r
        return {"limit": r.choice([1, 3, 10, 40, 1000]), "offset": r.choice([None, 0, 2, 7, 500])}

    def threshold(self, distance):
        r = self.m.r
        if r.random() > 0.25:
            return None
        return {"Cosine": r.uniform(-0.3, 0.5), "Dot": r.uniform(-3, 6), "Euclid": r.uniform(3, 9),
                "Manhattan": r.uniform(10, 40)}[distance]

    def points(self, local, remote):
        ranked(local.points, remote.points)

    # ---- reading ----

    def scroll(self):
        name = self.m.r.choice(sorted(self.sets))
        arguments = dict(collection_name=name, scroll_filter=self.m.maybe_filter(0.8), limit=self.m.r.choice([1, 7, 50, 1000]),
                         offset=self.m.id() if self.m.r.random() < 0.3 else None, **self.m.shown())
        return "scroll", arguments, lambda a, b: same(plain(a), plain(b))

    def count(self):
        name = self.m.r.choice(sorted(self.sets))
        return "count", dict(collection_name=name, count_filter=self.m.maybe_filter(0.95)), lambda a, b: same(plain(a), plain(b))

    def retrieve(self):
        name = self.m.r.choice(sorted(self.sets))
        ids = list(dict.fromkeys(self.m.id() for _ in self.m.some(0, 9)))
        shown = self.m.shown()
        if shown["with_vectors"] and len(self.sets[name]["dense"]) > 1:
            shown["with_vectors"] = [sorted(self.sets[name]["dense"])[0]]
        return "retrieve", dict(collection_name=name, ids=ids, **shown), lambda a, b: same(plain(a), plain(b))

    # ---- query ----

    def nearest(self):
        name, using, dim, distance = self.where()
        query = self.example(dim)
        if self.m.r.random() < 0.3:
            query = models.NearestQuery(nearest=query)
        return "query_points", dict(
            collection_name=name, query=query, using=using, query_filter=self.m.maybe_filter(),
            score_threshold=self.threshold(distance), search_params=self.exact(dim), **self.page(), **self.m.shown()), self.points

    def no_query(self):
        name = self.m.r.choice(sorted(self.sets))
        return "query_points", dict(collection_name=name, query_filter=self.m.maybe_filter(), **self.page(), **self.m.shown()), \
            lambda a, b: same([[p["id"], p["score"], p["payload"]] for p in plain(a)["points"]],
                              [[p["id"], p["score"], p["payload"]] for p in plain(b)["points"]])

    def mmr(self):
        name, using, dim, _ = self.where()
        query = models.NearestQuery(nearest=self.example(dim), mmr=models.Mmr(
            diversity=self.m.r.choice([None, 0.0, 0.2, 0.7, 1.0]), candidates_limit=self.m.r.choice([None, 5, 20, 100])))
        page = {"limit": self.m.r.choice([1, 3, 10]), "offset": self.m.r.choice([None, 2])}
        return "query_points", dict(collection_name=name, query=query, using=using, query_filter=self.m.maybe_filter(0.3),
                                    search_params=self.exact(dim), **page), \
            lambda a, b: same([[p["id"], p["score"]] for p in plain(a)["points"]], [[p["id"], p["score"]] for p in plain(b)["points"]])

    def examples(self, dim, low, high):
        return [self.example(dim) for _ in self.m.some(low, high)]

    def recommend_query(self, dim):
        strategy = self.m.r.choice(list(models.RecommendStrategy) + [None])
        average = strategy in (None, models.RecommendStrategy.AVERAGE_VECTOR)
        positive = self.examples(dim, 1 if average else 0, 3)
        negative = self.examples(dim, 0 if positive else 1, 3)
        return models.RecommendQuery(recommend=models.RecommendInput(
            positive=positive, negative=negative, strategy=strategy)), average

    def recommend(self):
        name, using, dim, distance = self.where()
        query, average = self.recommend_query(dim)
        threshold = None
        if average or distance in ("Cosine", "Dot"):  # KNOWN recommend_threshold_on_distances
            threshold = self.threshold(distance)
        return "query_points", dict(collection_name=name, query=query, using=using, query_filter=self.m.maybe_filter(),
                                    score_threshold=threshold, search_params=self.exact(dim), **self.page()), self.points

    def pairs(self, dim, low):
        return [models.ContextPair(positive=self.example(dim), negative=self.example(dim)) for _ in self.m.some(low, 3)]

    def discover_query(self, dim):
        if self.m.r.random() < 0.5:
            pairs = self.pairs(dim, 1)
            return models.ContextQuery(context=pairs[0] if len(pairs) == 1 else pairs)
        return models.DiscoverQuery(discover=models.DiscoverInput(target=self.example(dim), context=self.pairs(dim, 0)))

    def discover(self):
        name, using, dim, distance = self.where()
        threshold = self.m.r.uniform(-1, 1) if distance in ("Cosine", "Dot") and self.m.r.random() < 0.2 else None
        return "query_points", dict(collection_name=name, query=self.discover_query(dim), using=using,
                                    query_filter=self.m.maybe_filter(), score_threshold=threshold, **self.page()), self.points

    def leaf(self, name):
        using = self.m.r.choice(sorted(self.sets[name]["dense"]))
        dim, distance = self.sets[name]["dense"][using]
        pick = self.m.r.random()
        if pick < 0.6:
            query = models.NearestQuery(nearest=self.example(dim))
        elif pick < 0.8:
            query, _ = self.recommend_query(dim)
        elif pick < 0.9:
            query = self.discover_query(dim)
        else:
            query = None
        if isinstance(query, models.ContextQuery):  # most points have its best score: ties are not to be cut
            query = models.NearestQuery(nearest=self.example(dim))
        threshold = self.threshold(distance) if pick < 0.6 else None
        return models.Prefetch(query=query, using=using or None, filter=self.m.maybe_filter(0.3, False), params=self.exact(dim),
                               limit=self.m.r.choice([None, 5, 20, 60]), score_threshold=threshold)

    def prefetches(self, name, depth, ranks=False):
        """ranks: what comes out is used by its ranks, so that there must be no ties, as fusion makes them.
        No should clauses: KNOWN should_of_both_levels."""
        out = []
        for _ in self.m.some(1, 3):
            if depth > 0 and self.m.r.random() < 0.3:
                using = self.m.r.choice(sorted(self.sets[name]["dense"]))
                dim, _ = self.sets[name]["dense"][using]
                if not ranks and self.m.r.random() < 0.5:
                    fusion = self.m.r.choice(["rrf", "dbsf"])
                    inner = self.prefetches(name, depth - 1, fusion == "rrf")
                    out.append(models.Prefetch(prefetch=inner, query=models.FusionQuery(fusion=fusion), limit=1000))
                else:
                    out.append(models.Prefetch(prefetch=self.prefetches(name, depth - 1), query=self.m.vector(dim), using=using or None,
                                               limit=self.m.r.choice([5, 30])))
            else:
                out.append(self.leaf(name))
        return out

    def fusion(self):
        name, _, _, _ = self.where()
        pick = self.m.r.random()
        prefetch = self.prefetches(name, 2, not 0.4 <= pick < 0.6)
        if pick < 0.4:
            query = models.FusionQuery(fusion=models.Fusion.RRF)
        elif pick < 0.6:
            query = models.FusionQuery(fusion=models.Fusion.DBSF)
        else:
            weights = [self.m.r.choice([0.0, 0.5, 1.0, 3.0]) for _ in prefetch] if self.m.r.random() < 0.6 else None
            query = models.RrfQuery(rrf=models.Rrf(k=self.m.r.choice([None, 1, 2, 60]), weights=weights))
        threshold = self.m.r.uniform(0, 0.6) if self.m.r.random() < 0.2 else None
        if len(prefetch) == 1 and self.m.r.random() < 0.5:
            prefetch = prefetch[0]
        return "query_points", dict(collection_name=name, prefetch=prefetch, query=query, score_threshold=threshold,
                                    query_filter=self.m.maybe_filter(0.3), **self.page(), **self.m.shown()), self.points

    def rescore(self):
        name, using, dim, distance = self.where()
        pick = self.m.r.random()
        if pick < 0.6:
            query = self.example(dim)
        elif pick < 0.8:
            query, _ = self.recommend_query(dim)
        else:
            query = self.discover_query(dim)
        threshold = self.threshold(distance) if pick < 0.6 else None
        return "query_points", dict(collection_name=name, prefetch=self.prefetches(name, 2), query=query, using=using,
                                    score_threshold=threshold, query_filter=self.m.maybe_filter(0.3), **self.page()), self.points

    def expression(self, depth):
        r, m = self.m.r, models
        if depth == 0 or r.random() < 0.25:
            return r.choice([
                round(r.uniform(-3, 5), 2), "$score", "$score[0]", "$score[1]", "$score[7]", "price", "city.size", "n",
                self.m.field(), m.GeoDistance(geo_distance=m.GeoDistanceParams(origin=m.GeoPoint(**self.m.place()), to="city.loc")),
                m.DatetimeExpression(datetime=self.m.date()), m.DatetimeKeyExpression(datetime_key="when")])
        e = lambda: self.expression(depth - 1)  # noqa: E731
        decay = lambda: m.DecayParamsExpression(  # noqa: E731
            x=e(), target=e() if r.random() < 0.5 else None, scale=r.choice([None, 0.5, 20.0, 1e7]), midpoint=r.choice([None, 0.1, 0.9]))
        return r.choice([
            lambda: m.SumExpression(sum=[e() for _ in self.m.some(0, 3)]), lambda: m.MultExpression(mult=[e() for _ in self.m.some(0, 3)]),
            lambda: m.NegExpression(neg=e()), lambda: m.AbsExpression(abs=e()),
            lambda: m.DivExpression(div=m.DivParams(left=e(), right=e(), by_zero_default=r.choice([None, 1.5]))),
            lambda: m.SqrtExpression(sqrt=m.AbsExpression(abs=e())), lambda: m.SqrtExpression(sqrt=e()),
            lambda: m.PowExpression(pow=m.PowParams(base=e(), exponent=r.choice([2.0, 0.5, -1.0]))),
            lambda: m.LnExpression(ln=m.SumExpression(sum=[1.0, m.AbsExpression(abs=e())])), lambda: m.Log10Expression(log10=e()),
            lambda: m.ExpExpression(exp=m.NegExpression(neg=m.AbsExpression(abs=e()))),
            lambda: m.LinDecayExpression(lin_decay=decay()), lambda: m.ExpDecayExpression(exp_decay=decay()),
            lambda: m.GaussDecayExpression(gauss_decay=decay())])()

    def formula(self):
        name, _, _, _ = self.where()
        defaults = {"price": 5.5, "n": 2, "city.size": 1, "city.loc": self.m.place(), "when": "2020-01-01"}
        if self.m.r.random() < 0.3:
            defaults["$score[1]"] = 0.25
        if self.m.r.random() < 0.1:
            defaults = {}
        query = models.FormulaQuery(formula=self.expression(3), defaults=defaults)
        return "query_points", dict(collection_name=name, prefetch=self.prefetches(name, 1), query=query,
                                    query_filter=self.m.maybe_filter(0.2), **self.page()), self.points

    def sample(self):
        name = self.m.r.choice(sorted(self.sets))
        only = self.m.maybe_filter()
        limit = self.m.r.choice([1, 10, 1000])

        def check(a, b):
            x, y = plain(a)["points"], plain(b)["points"]
            if len(x) != len(y) or len({str(p["id"]) for p in y}) != len(y):
                raise Difference("%d points, %d points" % (len(x), len(y)))
            if limit == 1000:
                same([p["id"] for p in by_key(x)], [p["id"] for p in by_key(y)])
        return "query_points", dict(collection_name=name, query=models.SampleQuery(sample=models.Sample.RANDOM), query_filter=only,
                                    limit=limit), check

    def lookup(self):
        name, using, dim, _ = self.where()
        others = [(n, u) for n in self.sets for u in self.sets[n]["dense"] if self.sets[n]["dense"][u][0] == dim]
        other, vector = self.m.r.choice(sorted(others))
        query = self.m.id()
        if self.m.r.random() < 0.5:
            query = models.RecommendQuery(recommend=models.RecommendInput(positive=[self.m.id(), self.m.vector(dim)], negative=[self.m.id()]))
        return "query_points", dict(collection_name=name, query=query, using=using, search_params=self.exact(dim),
                                    lookup_from=models.LookupLocation(collection=other, vector=vector or None), **self.page()), self.points

    def batch(self):
        name, using, dim, _ = self.where()
        requests = [models.QueryRequest(query=self.example(dim), using=using, filter=self.m.maybe_filter(), params=self.exact(dim),
                                        limit=5, with_payload=True) for _ in self.m.some(1, 4)]

        def check(a, b):
            if len(a) != len(b):
                raise Difference("%d answers, %d answers" % (len(a), len(b)))
            for x, y in zip(a, b):
                ranked(x.points, y.points)
        return "query_batch_points", dict(collection_name=name, requests=requests), check

    # ---- groups, facets, matrix, order ----

    def groups(self):
        name, using, dim, distance = self.where()
        lookup = self.m.r.choice([None, None, "plain", models.WithLookup(collection="plain", with_payload=["color"], with_vectors=False)])
        arguments = dict(collection_name=name, query=self.example(dim), using=using, search_params=self.exact(dim),
                         group_by=self.m.r.choice(["color", "n", "city.size", "tags", "items[].a", "flag", "absent"]),
                         limit=self.m.r.choice([1, 3, 20]), group_size=self.m.r.choice([1, 2, 5]), with_lookup=lookup,
                         query_filter=self.m.maybe_filter(0.3), score_threshold=self.threshold(distance), with_payload=["color"])

        def check(a, b):
            x, y = plain(a)["groups"], plain(b)["groups"]
            same([g["id"] for g in x], [g["id"] for g in y], "ids of groups")
            for g, h in zip(x, y):
                ranked(g["hits"], h["hits"], "group %r" % g["id"])
                same(g["lookup"], h["lookup"], "lookup of %r" % g["id"])
        return "query_points_groups", arguments, check

    def facet(self):
        name = self.m.r.choice([n for n in self.sets if self.sets[n]["indexed"]])
        return "facet", dict(collection_name=name, key=self.m.r.choice(["color", "n", "flag", "tags"]),
                             facet_filter=self.m.maybe_filter(), limit=self.m.r.choice([1, 3, 100]), exact=True), \
            lambda a, b: same(plain(a), plain(b))

    def matrix(self):
        name, using, dim, _ = self.where()
        method = self.m.r.choice(["search_matrix_pairs", "search_matrix_offsets"])
        limit = self.m.r.choice([1, 3, 500])

        def pairs(a, b):
            x, y = plain(a)["pairs"], plain(b)["pairs"]
            same([p["a"] for p in x], [p["a"] for p in y], "a")
            for point in sorted({str(p["a"]) for p in x}):
                rows = [[dict(id=p["b"], score=p["score"]) for p in z if str(p["a"]) == point] for z in (x, y)]
                ranked(rows[0], rows[1], "pairs of " + point)

        def offsets(a, b):
            x, y = plain(a), plain(b)
            same(x["ids"], y["ids"], "ids")
            same(x["offsets_row"], y["offsets_row"], "offsets_row")
            same(x["scores"], y["scores"], "scores")
            if len(y["offsets_col"]) != len(x["offsets_col"]):
                raise Difference("offsets_col")
        return method, dict(collection_name=name, using=using, limit=limit, sample=1000,
                            query_filter=self.m.maybe_filter(0.9)), pairs if method.endswith("pairs") else offsets

    def order_by(self):
        name = self.m.r.choice([n for n in self.sets if self.sets[n]["indexed"]])
        key = self.m.r.choice(["n", "price", "when"])
        start = {"n": self.m.r.randint(-5, 12), "price": self.m.r.uniform(0, 100), "when": self.m.date()}[key]
        order = models.OrderBy(key=key, direction=self.m.r.choice([None, "asc", "desc"]),
                               start_from=start if self.m.r.random() < 0.4 else None)
        arguments = dict(collection_name=name, scroll_filter=self.m.maybe_filter(), order_by=order, limit=self.m.r.choice([1, 10, 1000]),
                         with_payload=True, with_vectors=False)

        def check(a, b):
            if b[1] is not None:
                raise Difference("next_page_offset: %r" % b[1])
            ranked(a[0], b[0], value=lambda p: p["order_value"])
        pick = self.m.r.random()
        if pick < 0.2:
            return "query_points", dict(collection_name=name, query=models.OrderByQuery(order_by=order),
                                        prefetch=self.prefetches(name, 1), limit=self.m.r.choice([5, 1000]), with_payload=True), \
                lambda a, b: ranked(a.points, b.points, value=lambda p: p["order_value"])
        if pick < 0.5:
            return "query_points", dict(collection_name=name, query=models.OrderByQuery(order_by=order),
                                        query_filter=self.m.maybe_filter(), limit=10, with_payload=True), \
                lambda a, b: ranked(a.points, b.points, value=lambda p: p["order_value"])
        return "scroll", arguments, check

    def text(self):
        """With a text index: words in any order, any of them, and in this order; in any case."""
        name = self.m.r.choice([n for n in self.sets if self.sets[n]["indexed"]])
        words = lambda low, high: " ".join(  # noqa: E731
            self.m.r.choice([str, str.upper, str.title])(self.m.r.choice(WORDS)) for _ in self.m.some(low, high))
        match = self.m.r.choice([lambda: models.MatchText(text=words(1, 3)), lambda: models.MatchTextAny(text_any=words(1, 3)),
                                 lambda: models.MatchPhrase(phrase=words(1, 3))])()
        condition = models.FieldCondition(key="text", match=match)
        clause = self.m.r.choice(["must", "must_not", "should"])
        only = models.Filter(**{clause: [condition] + ([self.m.field()] if self.m.r.random() < 0.3 else [])})
        if self.m.r.random() < 0.5:
            return "count", dict(collection_name=name, count_filter=only), lambda a, b: same(plain(a), plain(b))
        dim, _ = self.sets[name]["dense"][""]
        return "query_points", dict(collection_name=name, query=self.m.vector(dim), query_filter=only, limit=20, with_payload=["text"]), self.points

    # ---- writes ----

    def write(self, method, name, **arguments):
        """A write, then the whole collection is compared."""
        return method, dict(collection_name=name, **arguments), None

    def vectors_of(self, name):
        have = self.sets[name]
        out = {}
        for using, (dim, _) in have["dense"].items():
            out[using] = self.m.vector(dim)
        for using in have["sparse"]:
            out[using] = self.m.sparse()
        for using, (dim, _) in have["multi"].items():
            out[using] = self.m.multi(dim)
        if list(out) == [""]:
            return out[""]
        return {k: v for k, v in out.items() if self.m.r.random() < 0.85}

    def point(self, name, point_id=None):
        return models.PointStruct(id=self.m.id() if point_id is None else point_id, vector=self.vectors_of(name), payload=self.m.payload())

    def upsert(self):
        name = self.m.r.choice(sorted(self.sets))
        return self.write("upsert", name, points=[self.point(name) for _ in self.m.some(1, 6)], wait=True)

    def delete(self):
        name = self.m.r.choice(sorted(self.sets))
        return self.write("delete", name, points_selector=models.PointIdsList(points=[self.m.id() for _ in self.m.some(1, 3)]), wait=True)

    def delete_by_filter(self):
        name = self.m.r.choice(sorted(self.sets))
        must = [self.m.field(), models.HasIdCondition(has_id=[self.m.id() for _ in self.m.some(1, 40)])]
        return self.write("delete", name, points_selector=models.FilterSelector(filter=models.Filter(must=must)), wait=True)

    def some_points(self):
        if self.m.r.random() < 0.5:
            return models.Filter(must=[self.m.field(), self.m.field()])
        return [self.present(self.m.id()) for _ in self.m.some(1, 4)]

    def present(self, point_id):
        return point_id if isinstance(point_id, int) else point_id

    def set_payload(self):
        name = self.m.r.choice(sorted(self.sets))
        key = self.m.r.choice([None, None, "city", "items[0]", "fresh.deep"])
        return self.write("set_payload", name, payload={"n": self.m.r.randint(-5, 12), "extra": self.m.r.choice(WORDS)},
                          points=self.some_points(), key=key, wait=True)

    def overwrite_payload(self):
        name = self.m.r.choice(sorted(self.sets))
        return self.write("overwrite_payload", name, payload=self.m.payload(), points=self.some_points(), wait=True)

    def delete_payload(self):
        name = self.m.r.choice(sorted(self.sets))
        return self.write("delete_payload", name, keys=self.m.r.sample(["color", "city.name", "items[].a", "tags", "maybe"], 2),
                          points=self.some_points(), wait=True)

    def clear_payload(self):
        name = self.m.r.choice(sorted(self.sets))
        return self.write("clear_payload", name, points_selector=[self.m.id()], wait=True)

    def update_vectors(self):
        name = self.m.r.choice(sorted(self.sets))
        vectors = self.vectors_of(name) or {sorted(self.sets[name]["dense"])[0]: self.m.vector(
            self.sets[name]["dense"][sorted(self.sets[name]["dense"])[0]][0])}
        return self.write("update_vectors", name, points=[models.PointVectors(id=self.m.id(), vector=vectors)], wait=True)

    # ---- sparse and multi ----

    def where_kind(self, kind):
        name = self.m.r.choice([n for n in self.sets if self.sets[n][kind]])
        return name, self.m.r.choice(sorted(self.sets[name][kind]))

    def sparse(self):
        name, using = self.where_kind("sparse")
        example = lambda: self.m.id() if self.m.r.random() < 0.3 else self.m.sparse()  # noqa: E731
        pick = self.m.r.random()
        if pick < 0.6:
            query = example()
        elif pick < 0.8:
            query = models.RecommendQuery(recommend=models.RecommendInput(
                positive=[example() for _ in self.m.some(1, 3)], negative=[example() for _ in self.m.some(0, 2)],
                strategy=self.m.r.choice(list(models.RecommendStrategy))))
        else:
            query = models.ContextQuery(context=[models.ContextPair(positive=example(), negative=example())])
        return "query_points", dict(collection_name=name, query=query, using=using, query_filter=self.m.maybe_filter(0.3),
                                    **self.page()), self.points

    def multi(self):
        name, using = self.where_kind("multi")
        dim = self.sets[name]["multi"][using][0]
        example = lambda: self.m.id() if self.m.r.random() < 0.3 else self.m.multi(dim)  # noqa: E731
        pick = self.m.r.random()
        if pick < 0.6:
            query = example()
        elif pick < 0.8:
            query = models.RecommendQuery(recommend=models.RecommendInput(
                positive=[example() for _ in self.m.some(1, 3)], negative=[example() for _ in self.m.some(0, 2)],
                strategy=self.m.r.choice(list(models.RecommendStrategy))))
        else:
            query = models.DiscoverQuery(discover=models.DiscoverInput(target=example(), context=[
                models.ContextPair(positive=example(), negative=example())]))
        return "query_points", dict(collection_name=name, query=query, using=using, query_filter=self.m.maybe_filter(0.3),
                                    search_params=models.SearchParams(exact=True), **self.page()), self.points

    def hybrid(self):
        name, sparse = self.where_kind("sparse")
        dense = self.m.r.choice(sorted(self.sets[name]["dense"]))
        dim, _ = self.sets[name]["dense"][dense]
        prefetch = [models.Prefetch(query=self.m.vector(dim), using=dense or None, limit=20, params=self.exact(dim)),
                    models.Prefetch(query=self.m.sparse(), using=sparse, limit=20)]
        return "query_points", dict(collection_name=name, prefetch=prefetch, query=models.FusionQuery(fusion=self.m.r.choice(
            list(models.Fusion))), limit=10, query_filter=self.m.maybe_filter(0.3)), self.points


# How often a kind is drawn. None: kith does not have it yet, and why.
KINDS = {
    "scroll": 6, "count": 6, "retrieve": 2,
    "nearest": 8, "no_query": 2, "mmr": 3, "recommend": 6, "discover": 5, "fusion": 6, "rescore": 5, "formula": 8, "sample": 1,
    "lookup": 2, "batch": 2,
    "groups": 5, "facet": 3, "matrix": 3, "order_by": 4, "text": 4,
    "upsert": 2, "delete": 1, "delete_by_filter": 1, "set_payload": 3, "overwrite_payload": 1, "delete_payload": 2,
    "clear_payload": 1, "update_vectors": 4,
    "sparse": 4, "multi": 3, "hybrid": 3,
}

INDEXES = {"color": "keyword", "n": "integer", "price": "float", "when": "datetime", "flag": "bool", "tags": "keyword",
           "city.loc": "geo",
           "text": models.TextIndexParams(type="text", tokenizer="word", lowercase=True, phrase_matching=True)}


def collections(landed):
    """Name: its dense {using: (dim, distance)}, sparse [using], multi {using: (dim, distance)}, indexed."""
    sets = {"plain": dict(dense={"": (12, "Cosine")}, sparse=[], multi={}, indexed=False),
            "dot": dict(dense={"": (12, "Dot")}, sparse=[], multi={}, indexed=False),
            "euclid": dict(dense={"": (12, "Euclid")}, sparse=[], multi={}, indexed=False),
            "manhattan": dict(dense={"": (12, "Manhattan")}, sparse=[], multi={}, indexed=False),
            "wide": dict(dense={"": (48, "Cosine")}, sparse=[], multi={}, indexed=False)}
    if landed("facet"):
        sets["indexed"] = dict(dense={"": (12, "Euclid")}, sparse=[], multi={}, indexed=True)
    if landed("sparse"):
        sets["named"] = dict(dense={"a": (12, "Cosine"), "b": (6, "Euclid"), "c": (40, "Dot")}, sparse=["s", "t"],
                             multi={"m": (5, "Cosine"), "e": (6, "Euclid")}, indexed=False)
    return sets


def create(client, name, what):
    metric = lambda dim, distance, **more: models.VectorParams(size=dim, distance=distance, **more)  # noqa: E731
    if list(what["dense"]) == [""]:
        vectors = metric(*what["dense"][""])
    else:
        vectors = {using: metric(*v) for using, v in what["dense"].items()}
        for using, v in what["multi"].items():
            vectors[using] = metric(*v, multivector_config=models.MultiVectorConfig(comparator="max_sim"))
    sparse = {using: models.SparseVectorParams(modifier="idf" if using == "t" else None) for using in what["sparse"]}
    client.create_collection(name, vectors_config=vectors, sparse_vectors_config=sparse or None)
    if what["indexed"]:
        for field, kind in INDEXES.items():
            client.create_payload_index(name, field, field_schema=kind, wait=True)


def outcome(client, method, arguments):
    try:
        return getattr(client, method)(**arguments), None
    except UnexpectedResponse as error:
        if error.status_code >= 500:
            raise
        return None, "%d %s" % (error.status_code, error.content[:200])
    except Exception as error:  # local mode raises what it likes
        return None, "%s: %s" % (type(error).__name__, error)


def everything(client, name):
    points, offset = [], None
    while True:
        page, offset = client.scroll(name, limit=1000, offset=offset, with_payload=True, with_vectors=True)
        points += plain(page)
        if offset is None:
            return points


def compare(local, remote, method, arguments, check):
    a, a_error = outcome(local, method, arguments)
    b, b_error = outcome(remote, method, arguments)
    if (a_error is None) != (b_error is None):
        raise Difference("local: %s; kith: %s" % (a_error or "answers", b_error or "answers"))
    if a_error is not None:
        return False
    if check is None:
        name = arguments["collection_name"]
        same(everything(local, name), everything(remote, name), name)
    else:
        check(a, b)
    return True


def fill(maker, calls, clients, sets):
    for name, what in sets.items():
        for client in clients:
            create(client, name, what)
        points = [calls.point(name, maker.id_of(i)) for i in range(IDS) if maker.r.random() < 0.9]
        maker.r.shuffle(points)
        for client in clients:
            client.upsert(name, points=points, wait=True)


def run(options):
    landed = lambda kind: KINDS[kind] is not None  # noqa: E731
    kinds = {k: w for k, w in KINDS.items() if w is not None}
    if options.kinds:
        kinds = {k: KINDS[k] or 1 for k in options.kinds.split(",")}
    sets = collections(landed)
    maker = Maker(options.seed)
    calls = Calls(maker, sets)
    done, refused, different = {k: 0 for k in kinds}, 0, 0
    with kith.Server() as server:
        local = QdrantClient(":memory:")
        remote = QdrantClient(url="http://127.0.0.1:%d" % server.port, check_compatibility=False, timeout=60)
        fill(maker, calls, (local, remote), sets)
        end = time.monotonic() + options.seconds
        number = 0
        while (number < options.count) if options.count else time.monotonic() < end:
            number += 1
            maker.r.seed("%d/%d" % (options.seed, number))
            maker.n = np.random.default_rng([options.seed, number])
            kind = maker.r.choices(list(kinds), list(kinds.values()))[0]
            method, arguments, check = getattr(calls, kind)()
            try:
                refused += not compare(local, remote, method, arguments, check)
            except Difference as difference:
                different += 1
                print("DIFFERENT %s (call %d of seed %d): %s" % (kind, number, options.seed, difference))
                print("    %s %s" % (method, json.dumps(plain(arguments), default=str)[:options.width]))
                if different >= options.most:
                    break
            done[kind] += 1
    print(", ".join("%s %d" % item for item in done.items()))
    for kind, weight in KINDS.items():
        if weight is None:
            print("not compared yet: " + kind)
    print("%d calls, %d refused by both, %d different (seed %d)" % (sum(done.values()), refused, different, options.seed))
    return 1 if different else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")) or int(time.strftime("%Y%m%d")))
    parser.add_argument("--count", type=int, default=int(os.environ.get("COUNT", "0")))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("DIFFERENTIAL_SECONDS", "120")))
    parser.add_argument("--kinds", default="")
    parser.add_argument("--most", type=int, default=10, help="differences to stop at")
    parser.add_argument("--width", type=int, default=700)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
