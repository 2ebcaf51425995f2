"""llama-index-vector-stores-qdrant, unmodified."""
import unittest

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (FilterCondition, FilterOperator, MetadataFilter, MetadataFilters,
                                                  VectorStoreQuery, VectorStoreQueryMode)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

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
