"""llama-index-vector-stores-qdrant, unmodified."""
import hashlib
import unittest

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (FilterCondition, FilterOperator, MetadataFilter, MetadataFilters,
                                                  VectorStoreQuery, VectorStoreQueryMode)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from common import URL, embed, main

NAME = "llama-index"
TEXTS = ["red apple", "green apple", "red car", "blue car", "blue sky", "green tree", "old tree", "new house"]


def node(text, i):
    return TextNode(text=text, id_="00000000-0000-0000-0000-%012d" % i, embedding=embed(text),
                    metadata={"n": i, "colour": text.split()[0]},
                    relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc-%d" % (i % 2))})


class LlamaIndex(unittest.TestCase):
    def setUp(self):
        client = QdrantClient(url=URL)
        client.delete_collection(NAME)
        self.store = QdrantVectorStore(NAME, client=client, aclient=AsyncQdrantClient(url=URL))
        self.nodes = [node(t, i) for i, t in enumerate(TEXTS)]
        self.assertEqual(self.store.add(self.nodes), [n.node_id for n in self.nodes])

    def texts(self, text, k=3, filters=None, **kw):
        result = self.store.query(VectorStoreQuery(query_embedding=embed(text), similarity_top_k=k,
                                                   filters=filters, **kw))
        return [n.get_content() for n in result.nodes]

    def where(self, *filters, condition=FilterCondition.AND):
        return sorted(self.texts("red apple", 20, MetadataFilters(
            filters=[MetadataFilter(key=k, operator=o, value=v) for k, o, v in filters], condition=condition)))

    def test_query(self):
        result = self.store.query(VectorStoreQuery(query_embedding=embed("red apple"), similarity_top_k=2))
        self.assertEqual(result.nodes[0].get_content(), "red apple")
        self.assertEqual(result.nodes[0].metadata["colour"], "red")
        self.assertAlmostEqual(result.similarities[0], 1.0, places=5)
        self.assertEqual(result.ids[0], self.nodes[0].node_id)

    def test_filters(self):
        op = FilterOperator
        self.assertEqual(self.where(("colour", op.EQ, "green")), ["green apple", "green tree"])
        self.assertEqual(self.where(("n", op.GTE, 6)), ["new house", "old tree"])
        self.assertEqual(self.where(("n", op.LT, 3), ("colour", op.NE, "red")), ["green apple"])
        self.assertEqual(self.where(("colour", op.IN, ["old", "new"])), ["new house", "old tree"])
        self.assertEqual(self.where(("colour", op.NIN, ["red", "green", "blue"])), ["new house", "old tree"])
        self.assertEqual(self.where(("n", op.EQ, 0), ("n", op.EQ, 7), condition=FilterCondition.OR),
                         ["new house", "red apple"])
        self.assertEqual(self.where(("missing", op.IS_EMPTY, None)), sorted(TEXTS))
        only = self.store.query(VectorStoreQuery(query_embedding=embed("red apple"), similarity_top_k=9,
                                                 node_ids=[self.nodes[3].node_id]))
        self.assertEqual([n.get_content() for n in only.nodes], ["blue car"])
        docs = self.store.query(VectorStoreQuery(query_embedding=embed("red apple"), similarity_top_k=9,
                                                 doc_ids=["doc-1"]))
        self.assertEqual(len(docs.nodes), 4)

    def test_get_and_delete(self):
        got = self.store.get_nodes(node_ids=[self.nodes[2].node_id])
        self.assertEqual([n.get_content() for n in got], ["red car"])
        got = self.store.get_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="colour", value="blue")]))
        self.assertEqual(sorted(n.get_content() for n in got), ["blue car", "blue sky"])
        self.store.delete_nodes(node_ids=[self.nodes[0].node_id])
        self.store.delete("doc-1")
        self.assertEqual(sorted(self.texts("red apple", 20)), ["blue sky", "old tree", "red car"])

    def test_payload_update_scroll_and_alias(self):
        """What the store leaves to its client; it finds the alias as it finds a collection."""
        client = self.store.client
        red = models.Filter(must=[models.FieldCondition(key="colour", match=models.MatchValue(value="red"))])
        client.set_payload(NAME, payload={"colour": "crimson"}, points=red)
        self.assertEqual(self.where(("colour", FilterOperator.EQ, "crimson")), ["red apple", "red car"])
        page, after = client.scroll(NAME, limit=5, with_payload=["n"])
        self.assertEqual(([p.payload["n"] for p in page], after), ([0, 1, 2, 3, 4], self.nodes[5].node_id))
        client.update_collection_aliases([models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=NAME, alias_name=NAME + "-now"))])
        other = QdrantVectorStore(NAME + "-now", client=client, aclient=AsyncQdrantClient(url=URL))
        other.add([node("purple rain", 9)])
        self.assertEqual(self.texts("purple rain", 1), ["purple rain"])
        other.delete_nodes(node_ids=[self.nodes[0].node_id])
        self.assertNotIn("red apple", self.texts("red apple", 20))
        client.update_collection_aliases([models.DeleteAliasOperation(
            delete_alias=models.DeleteAlias(alias_name=NAME + "-now"))])

    def test_hybrid(self):
        def sparse(texts):
            words = [sorted({int(hashlib.sha256(w.encode()).hexdigest()[:6], 16) for w in t.split()}) for t in texts]
            return words, [[1.0] * len(w) for w in words]

        client = QdrantClient(url=URL)
        client.delete_collection(NAME + "-hybrid")
        store = QdrantVectorStore(NAME + "-hybrid", client=client, aclient=AsyncQdrantClient(url=URL), enable_hybrid=True,
                                  sparse_doc_fn=sparse, sparse_query_fn=sparse)
        store.add([node(t, i) for i, t in enumerate(TEXTS)])

        def ask(text, mode, **kw):
            result = store.query(VectorStoreQuery(query_embedding=embed(text), query_str=text, similarity_top_k=3, mode=mode, **kw))
            return [n.get_content() for n in result.nodes]

        self.assertEqual(ask("red apple", VectorStoreQueryMode.HYBRID, alpha=0.5)[0], "red apple")
        self.assertEqual(ask("red apple", VectorStoreQueryMode.DEFAULT)[0], "red apple")
        self.assertEqual(sorted(ask("blue", VectorStoreQueryMode.SPARSE, sparse_top_k=5)), ["blue car", "blue sky"])
        only = MetadataFilters(filters=[MetadataFilter(key="n", operator=FilterOperator.EQ, value=3)])
        self.assertEqual(ask("blue", VectorStoreQueryMode.HYBRID, filters=only), ["blue car"])
        store.delete_nodes(node_ids=[self.nodes[3].node_id])
        self.assertEqual(ask("blue", VectorStoreQueryMode.SPARSE), ["blue sky"])

    def test_clear_and_add_again(self):
        self.store.clear()
        self.store.add([node("purple rain", 1)])
        self.assertEqual(self.texts("purple rain", 5), ["purple rain"])


class LlamaIndexAsync(unittest.IsolatedAsyncioTestCase):
    async def test_async(self):
        store = QdrantVectorStore(NAME + "-async", client=QdrantClient(url=URL), aclient=AsyncQdrantClient(url=URL))
        await store.async_add([node(t, i) for i, t in enumerate(TEXTS)])
        result = await store.aquery(VectorStoreQuery(query_embedding=embed("blue sky"), similarity_top_k=1,
                                                     mode=VectorStoreQueryMode.DEFAULT))
        self.assertEqual([n.get_content() for n in result.nodes], ["blue sky"])
        await store.adelete("doc-0")
        self.assertEqual(len(await store.aget_nodes()), 4)
        await store.aclear()


if __name__ == "__main__":
    main()
