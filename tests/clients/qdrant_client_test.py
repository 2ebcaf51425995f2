"""The published Python client, unmodified, over REST."""
import unittest
import uuid

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from common import DIM, URL, embed, main

NAME = "python-client"
WORDS = ["red apple", "green apple", "red car", "blue car", "blue sky", "green tree", "old tree", "new house"]


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = QdrantClient(url=URL, prefer_grpc=False, timeout=30)

    def setUp(self):
        self.client.delete_collection(NAME)
        self.assertTrue(self.client.create_collection(
            NAME, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE)))
        points = [models.PointStruct(id=i, vector=embed(text), payload={
            "text": text, "n": i, "colour": text.split()[0], "tags": text.split(), "nested": {"n": [i, i + 10]}})
            for i, text in enumerate(WORDS)]
        done = self.client.upsert(NAME, points=points, wait=True)
        self.assertEqual(done.status, models.UpdateStatus.COMPLETED)

    def tearDown(self):
        self.client.delete_collection(NAME)

    def ids(self, **kw):
        return [p.id for p in self.client.query_points(NAME, **kw).points]

    def test_collections(self):
        self.assertTrue(self.client.collection_exists(NAME))
        self.assertFalse(self.client.collection_exists("no-such"))
        self.assertIn(NAME, [c.name for c in self.client.get_collections().collections])
        info = self.client.get_collection(NAME)
        self.assertEqual((info.status, info.points_count, info.config.params.vectors.size),
                         (models.CollectionStatus.GREEN, len(WORDS), DIM))
        with self.assertRaises(UnexpectedResponse) as caught:
            self.client.create_collection(NAME, vectors_config=models.VectorParams(size=2, distance="Dot"))
        self.assertEqual(caught.exception.status_code, 409)
        self.assertIn("already exists", str(caught.exception))
        with self.assertRaises(UnexpectedResponse) as caught:
            self.client.get_collection("no-such")
        self.assertEqual(caught.exception.status_code, 404)
        self.assertIn("Not found: Collection `no-such` doesn't exist!", caught.exception.content.decode())
        self.assertFalse(self.client.delete_collection("no-such"))

    def test_search(self):
        found = self.client.query_points(NAME, query=embed("red apple"), limit=3, with_vectors=True).points
        self.assertEqual(found[0].id, 0)
        self.assertAlmostEqual(found[0].score, 1.0, places=5)
        self.assertEqual(found[0].payload["text"], "red apple")
        np.testing.assert_allclose(found[0].vector, embed("red apple"), atol=1e-6)
        self.assertEqual(self.ids(query=np.array(embed("blue sky")), limit=1), [4])
        self.assertNotIn(4, self.ids(query=4, limit=8))  # an example is not its own answer
        self.assertEqual(self.ids(query=embed("blue sky"), limit=8, score_threshold=0.999), [4])
        self.assertEqual(self.ids(query=embed("x"), limit=8, offset=8), [])
        exact = models.SearchParams(exact=True, hnsw_ef=64)
        self.assertEqual(self.ids(query=embed("old tree"), limit=1, search_params=exact), [6])
        batch = self.client.query_batch_points(NAME, requests=[
            models.QueryRequest(query=embed("red car"), limit=1),
            models.QueryRequest(query=embed("new house"), limit=2, with_payload=["n"])])
        self.assertEqual([[p.id for p in b.points][0] for b in batch], [2, 7])
        self.assertEqual(batch[1].points[0].payload, {"n": 7})

    def test_filters(self):
        def where(**kw):
            return sorted(self.ids(query=embed("red apple"), limit=20, query_filter=models.Filter(**kw)))

        field = models.FieldCondition
        self.assertEqual(where(must=[field(key="colour", match=models.MatchValue(value="red"))]), [0, 2])
        self.assertEqual(where(must=[field(key="n", range=models.Range(gte=2, lt=5))]), [2, 3, 4])
        self.assertEqual(where(must_not=[field(key="tags", match=models.MatchAny(any=["car", "tree"]))]),
                         [0, 1, 4, 7])
        self.assertEqual(where(should=[field(key="nested.n[]", match=models.MatchValue(value=13)),
                                       models.HasIdCondition(has_id=[1])]), [1, 3])
        self.assertEqual(where(must=[field(key="text", match=models.MatchText(text="tree"))]), [5, 6])
        self.assertEqual(where(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="missing"))]),
                         list(range(8)))
        self.assertEqual(where(min_should=models.MinShould(min_count=2, conditions=[
            field(key="colour", match=models.MatchValue(value="green")),
            field(key="tags", match=models.MatchValue(value="tree"))])), [5])
        self.assertEqual(self.client.count(NAME, count_filter=models.Filter(must=[
            field(key="colour", match=models.MatchExcept(**{"except": ["red", "blue"]}))])).count, 4)

    def test_mmr_and_hybrid(self):
        mmr = models.NearestQuery(nearest=embed("red apple"), mmr=models.Mmr(diversity=0.8, candidates_limit=8))
        found = self.ids(query=mmr, limit=3)
        self.assertEqual((found[0], len(set(found))), (0, 3))
        self.assertNotEqual(found, self.ids(query=embed("red apple"), limit=3))
        both = self.ids(prefetch=[models.Prefetch(query=embed("red apple"), limit=4),
                                  models.Prefetch(query=embed("red car"), limit=4)],
                        query=models.FusionQuery(fusion=models.Fusion.RRF), limit=2)
        self.assertEqual(sorted(both), [0, 2])
        liked = models.RecommendQuery(recommend=models.RecommendInput(positive=[0], negative=[3]))
        target = 2 * np.array(embed(WORDS[0])) - np.array(embed(WORDS[3]))
        near = sorted((i for i in range(8) if i not in (0, 3)), key=lambda i: -np.dot(target, embed(WORDS[i])))
        self.assertEqual(self.ids(query=liked, limit=8, with_payload=False), near)

    def test_order_groups_and_facets(self):
        self.client.create_payload_index(NAME, "n", field_schema=models.PayloadSchemaType.INTEGER)
        self.client.create_payload_index(NAME, "colour", field_schema=models.PayloadSchemaType.KEYWORD)
        page, after = self.client.scroll(NAME, limit=3, order_by=models.OrderBy(key="n", direction="desc"))
        self.assertEqual(([p.id for p in page], after), ([7, 6, 5], None))
        groups = self.client.query_points_groups(NAME, query=embed("red apple"), group_by="colour", limit=2, group_size=2).groups
        self.assertEqual([(g.id, [h.id for h in g.hits][0]) for g in groups], [("red", 0), ("green", 1)])
        hits = self.client.facet(NAME, key="colour", limit=3).hits
        self.assertEqual([(h.value, h.count) for h in hits], [("blue", 2), ("green", 2), ("red", 2)])
        schema = self.client.get_collection(NAME).payload_schema
        self.assertEqual({k: v.points for k, v in schema.items()}, {"n": 8, "colour": 8})

    def test_read(self):
        page, after = self.client.scroll(NAME, limit=5)
        self.assertEqual(([p.id for p in page], after), ([0, 1, 2, 3, 4], 5))
        page, after = self.client.scroll(NAME, limit=5, offset=after, with_vectors=True)
        self.assertEqual(([p.id for p in page], after), ([5, 6, 7], None))
        self.assertEqual(len(page[0].vector), DIM)
        records = self.client.retrieve(NAME, ids=[3, 99, 1], with_payload=["text"])
        self.assertEqual({r.id: r.payload for r in records}, {3: {"text": "blue car"}, 1: {"text": "green apple"}})
        self.assertEqual(self.client.count(NAME).count, 8)

    def test_ids(self):
        big, one = 2**64 - 1, str(uuid.uuid4())
        self.client.upsert(NAME, points=models.Batch(ids=[big, one], vectors=[embed("a"), embed("b")],
                                                     payloads=[{"big": 2**63}, {}]))
        found = {r.id: r.payload for r in self.client.retrieve(NAME, ids=[big, uuid.UUID(one).hex])}
        self.assertEqual(found, {big: {"big": 2**63}, one: {}})
        with self.assertRaises(UnexpectedResponse) as caught:
            self.client.retrieve(NAME, ids=["not an id"])
        self.assertIn("is not a valid point ID", str(caught.exception))

    def test_upload(self):
        vectors = np.random.default_rng(1).normal(size=(300, DIM)).astype(np.float32)
        self.client.upload_collection(NAME, vectors=vectors, ids=range(1000, 1300), batch_size=64, wait=True,
                                      payload=({"i": i} for i in range(300)))
        self.assertEqual(self.client.count(NAME).count, 308)
        self.client.upload_points(NAME, points=[models.PointStruct(id=2000, vector=embed("late"))], wait=True)
        self.assertEqual(self.ids(query=embed("late"), limit=1), [2000])

    def test_payload_operations(self):
        done = models.UpdateStatus.COMPLETED
        self.assertEqual(self.client.set_payload(NAME, payload={"a": 1, "n": None}, points=[0, 1]).status, done)
        self.assertEqual(self.client.set_payload(NAME, payload={"deep": 1.5}, key="nested", points=[0]).status, done)
        self.client.overwrite_payload(NAME, payload={"only": True}, points=models.Filter(must=[
            models.FieldCondition(key="n", range=models.Range(gte=6))]))
        self.client.delete_payload(NAME, keys=["tags", "nested.n"], points=[0])
        self.client.clear_payload(NAME, points_selector=[5])
        payload = {r.id: r.payload for r in self.client.retrieve(NAME, ids=[0, 5, 6, 7])}
        self.assertEqual(payload, {0: {"text": "red apple", "colour": "red", "nested": {"deep": 1.5}, "a": 1},
                                   5: {}, 6: {"only": True}, 7: {"only": True}})
        with self.assertRaises(UnexpectedResponse) as caught:
            self.client.set_payload(NAME, payload={}, points=[99])
        self.assertEqual(caught.exception.status_code, 404)
        self.assertIn("No point with id 99 found", str(caught.exception))

    def test_delete(self):
        self.assertEqual(self.client.delete(NAME, points_selector=[1, 77]).status, models.UpdateStatus.COMPLETED)
        self.client.delete(NAME, points_selector=models.FilterSelector(filter=models.Filter(must=[
            models.FieldCondition(key="colour", match=models.MatchValue(value="blue"))])))
        page, _ = self.client.scroll(NAME, limit=100)
        self.assertEqual([p.id for p in page], [0, 2, 5, 6, 7])

    def test_batch_update(self):
        results = self.client.batch_update_points(NAME, update_operations=[
            models.UpsertOperation(upsert=models.PointsList(points=[models.PointStruct(id=50, vector=embed("q"))])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"x": 1}, points=[50])),
            models.DeleteOperation(delete=models.PointIdsList(points=[0]))])
        self.assertEqual([r.status for r in results], [models.UpdateStatus.COMPLETED] * 3)
        self.assertEqual(self.client.retrieve(NAME, ids=[0, 50])[0].payload, {"x": 1})

    def test_update_modes(self):
        point = models.PointStruct(id=0, vector=embed("changed"), payload={"changed": True})
        self.client.upsert(NAME, points=[point], update_mode=models.UpdateMode.INSERT_ONLY)
        self.assertEqual(self.client.retrieve(NAME, ids=[0])[0].payload["text"], "red apple")
        self.client.upsert(NAME, points=[point], update_filter=models.Filter(must=[
            models.FieldCondition(key="n", match=models.MatchValue(value=0))]))
        self.assertEqual(self.client.retrieve(NAME, ids=[0])[0].payload, {"changed": True})

    def test_aliases(self):
        def change(*actions):
            return self.client.update_collection_aliases(change_aliases_operations=list(actions))

        create = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=NAME, alias_name="now"))
        self.assertTrue(change(create))
        self.assertTrue(self.client.collection_exists("now"))
        self.assertEqual(self.client.count("now").count, 8)
        self.assertEqual([a.alias_name for a in self.client.get_collection_aliases(NAME).aliases], ["now"])
        self.assertTrue(change(models.RenameAliasOperation(
            rename_alias=models.RenameAlias(old_alias_name="now", new_alias_name="then"))))
        self.assertEqual([(a.alias_name, a.collection_name) for a in self.client.get_aliases().aliases],
                         [("then", NAME)])
        self.assertTrue(change(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="then"))))
        self.assertEqual(self.client.get_aliases().aliases, [])

    def test_service(self):
        info = self.client.info()
        self.assertRegex(info.version, r"^\d+\.\d+\.\d+$")
        self.assertEqual(self.client.cluster_status().status, "disabled")


if __name__ == "__main__":
    main()
