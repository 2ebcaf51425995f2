// @mastra/qdrant, unmodified: the vector store as its users write it.
import assert from "node:assert/strict";
import { QdrantClient } from "@qdrant/js-client-rest";
import { QdrantVector } from "@mastra/qdrant";
import { DIM, TEXTS, URL_, embed, near, run } from "./common.mjs";

const NAME = "mastra";
const store = new QdrantVector({ id: "kith", url: URL_ });
let ids;

async function fresh() {
  await new QdrantClient({ url: URL_ }).deleteCollection(NAME);
  await store.createIndex({ indexName: NAME, dimension: DIM, metric: "cosine" });
  ids = await store.upsert({
    indexName: NAME, vectors: TEXTS.map(embed),
    metadata: TEXTS.map((text, n) => ({ text, n, colour: text.split(" ")[0], when: `2026-01-0${n + 1}T00:00:00Z` })),
  });
  assert.equal(ids.length, TEXTS.length);
}
const ask = (text, topK = 3, filter = undefined) =>
  store.query({ indexName: NAME, queryVector: embed(text), topK, filter });
const where = async (filter) => (await ask("red apple", 20, filter)).map((r) => r.metadata.n).sort();

await run({
  async indexes() {
    await fresh();
    await store.createIndex({ indexName: NAME, dimension: DIM, metric: "cosine" }); // there already: fine
    await assert.rejects(store.createIndex({ indexName: NAME, dimension: 5, metric: "cosine" }));
    assert.ok((await store.listIndexes()).includes(NAME));
    assert.deepEqual(await store.describeIndex({ indexName: NAME }),
      { dimension: DIM, count: TEXTS.length, metric: "cosine" });
  },
  async query() {
    await fresh();
    const found = await ask("red apple");
    assert.equal(found[0].metadata.text, "red apple");
    near(found[0].score, 1);
    const [first] = await store.query({ indexName: NAME, queryVector: embed("blue sky"), topK: 1, includeVector: true });
    assert.equal(first.vector.length, DIM);
  },
  async filters() {
    await fresh();
    assert.deepEqual(await where({}), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(await where({ colour: "red" }), [0, 2]);
    assert.deepEqual(await where({ n: { $gte: 2, $lt: 5 } }), [2, 3, 4]);
    assert.deepEqual(await where({ colour: { $in: ["old", "new"] } }), [6, 7]);
    assert.deepEqual(await where({ $or: [{ n: 1 }, { colour: "blue" }] }), [1, 3, 4]);
    assert.deepEqual(await where({ $and: [{ colour: "red" }, { n: { $gt: 0 } }] }), [2]);
    assert.deepEqual(await where({ $not: { colour: "red" } }), [1, 3, 4, 5, 6, 7]);
    assert.deepEqual(await where({ $hasId: [ids[3]] }), [3]);
    assert.deepEqual(await where({ when: { $datetime: { range: { gt: "2026-01-07T00:00:00Z" } } } }), [7]);
  },
  async updating() {
    await fresh();
    await store.updateVector({ indexName: NAME, id: ids[0], update: { metadata: { extra: 1 } } });
    const [first] = await ask("red apple", 1);
    assert.deepEqual([first.metadata.extra, first.metadata.text], [1, "red apple"]);
    await store.deleteVector({ indexName: NAME, id: ids[0] });
    await store.deleteVectors({ indexName: NAME, filter: { colour: "blue" } });
    await store.deleteVectors({ indexName: NAME, ids: [ids[7]] });
    assert.deepEqual(await where({}), [1, 2, 5, 6]);
  },
  async dropping() {
    await fresh();
    await store.deleteIndex({ indexName: NAME });
    assert.ok(!(await store.listIndexes()).includes(NAME));
  },
});
