// @langchain/qdrant, unmodified: the vector store as its users write it.
import assert from "node:assert/strict";
import { QdrantClient } from "@qdrant/js-client-rest";
import { QdrantVectorStore } from "@langchain/qdrant";
import { Embeddings } from "@langchain/core/embeddings";
import { TEXTS, URL_, embed, near, run } from "./common.mjs";

const NAME = "langchain-js";

class FakeEmbeddings extends Embeddings {
  constructor() {
    super({});
  }
  async embedDocuments(texts) {
    return texts.map(embed);
  }
  async embedQuery(text) {
    return embed(text);
  }
}

async function fresh() {
  await new QdrantClient({ url: URL_ }).deleteCollection(NAME);
  return QdrantVectorStore.fromTexts(TEXTS, TEXTS.map((t, n) => ({ n, colour: t.split(" ")[0] })),
    new FakeEmbeddings(), { url: URL_, collectionName: NAME });
}
const texts = (documents) => documents.map((d) => d.pageContent);
const colour = (value) => ({ must: [{ key: "metadata.colour", match: { value } }] });

await run({
  async search() {
    const store = await fresh();
    assert.deepEqual(texts(await store.similaritySearch("red apple", 1)), ["red apple"]);
    const [[document, score]] = await store.similaritySearchWithScore("blue sky", 1);
    assert.deepEqual([document.pageContent, document.metadata], ["blue sky", { n: 4, colour: "blue" }]);
    near(score, 1);
  },
  async filter() {
    const store = await fresh();
    assert.deepEqual(texts(await store.similaritySearch("red apple", 9, colour("green"))).sort(),
      ["green apple", "green tree"]);
    const retriever = store.asRetriever({ k: 1, filter: colour("green") });
    assert.deepEqual(texts(await retriever.invoke("some tree")), ["green tree"]);
  },
  async mmr() {
    const store = await fresh();
    const found = texts(await store.maxMarginalRelevanceSearch("red apple", { k: 3, fetchK: 8, lambda: 0.8 }));
    assert.equal(found[0], "red apple");
    assert.notDeepEqual(found, texts(await store.similaritySearch("red apple", 3)));
  },
  async scrollAndPayload() { // what the store leaves to its client
    const store = await fresh();
    await store.client.setPayload(NAME, { payload: { seen: true }, key: "metadata", filter: colour("red") });
    const page = await store.client.scroll(NAME, { filter: colour("red"), limit: 10 });
    assert.deepEqual(page.points.map((p) => p.payload.metadata.seen), [true, true]);
    const [first] = await store.similaritySearch("red apple", 1);
    assert.deepEqual(first.metadata, { n: 0, colour: "red", seen: true });
  },
  async deleting() {
    const store = await fresh();
    const id = "550e8400-e29b-41d4-a716-446655440000";
    await store.addDocuments([{ pageContent: "purple rain", metadata: {}, id }]);
    assert.deepEqual(texts(await store.similaritySearch("purple rain", 1)), ["purple rain"]);
    await store.delete({ ids: [id] });
    await store.delete({ filter: colour("red") });
    assert.deepEqual(texts(await store.similaritySearch("red apple", 20)).sort(),
      TEXTS.filter((t) => !t.startsWith("red")).sort());
  },
  async alias() {
    await fresh();
    const client = new QdrantClient({ url: URL_ });
    await client.updateCollectionAliases({ actions: [{ create_alias: { collection_name: NAME, alias_name: "current" } }] });
    const found = await client.query("current", { query: embed("old tree"), limit: 1, with_payload: ["content"] });
    assert.equal(found.points[0].payload.content, "old tree");
    await client.updateCollectionAliases({ actions: [{ delete_alias: { alias_name: "current" } }] });
  },
  async wrongDimension() {
    const store = await fresh();
    await assert.rejects(store.addVectors([[1, 2]], [{ pageContent: "x", metadata: {} }]),
      /400 .*Vector dimension error: expected dim: 32, got 2/);
  },
});
