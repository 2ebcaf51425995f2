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
  async updatingByFilter() {
    await fresh();
    await store.updateVector({ indexName: NAME, filter: { colour: "red" }, update: { metadata: { seen: true } } });
    assert.deepEqual(await where({ seen: true }), [0, 2]);
    await store.updateVector({ indexName: NAME, id: ids[7], update: { vector: embed("red apple") } });
    assert.deepEqual((await ask("red apple", 2)).map((r) => r.metadata.n).sort(), [0, 7]);
    await store.updateVector({ indexName: NAME, id: ids[6], update: { vector: embed("purple rain"), metadata: { n: 60 } } });
    const [first] = await ask("purple rain", 1);
    assert.equal(first.metadata.n, 60);
  },
  async payloadIndexes() {
    await fresh();
    const paths = { colour: "keyword", n: "integer", when: "datetime", text: "text", flag: "bool", x: "float", at: "geo", u: "uuid" };
    for (const [fieldName, fieldSchema] of Object.entries(paths)) {
      await store.createPayloadIndex({ indexName: NAME, fieldName, fieldSchema });
      await store.createPayloadIndex({ indexName: NAME, fieldName, fieldSchema }); // there already: fine
    }
    const schema = (await new QdrantClient({ url: URL_ }).getCollection(NAME)).payload_schema;
    assert.deepEqual(Object.fromEntries(Object.entries(schema).map(([k, v]) => [k, v.data_type])), paths);
    assert.deepEqual(await where({ colour: "red", n: { $gt: 0 } }), [2]);
    for (const fieldName of Object.keys(paths)) await store.deletePayloadIndex({ indexName: NAME, fieldName });
    await store.deletePayloadIndex({ indexName: NAME, fieldName: "none" });
    assert.deepEqual(await where({ colour: "red", n: { $gt: 0 } }), [2]);
  },
  async namedVectors() {
    const indexName = "mastra-named", client = new QdrantClient({ url: URL_ });
    await client.deleteCollection(indexName);
    await store.createIndex({ indexName, namedVectors: { text: { size: DIM, distance: "cosine" }, image: { size: 2, distance: "euclidean" } } });
    await store.upsert({ indexName, vectorName: "text", vectors: TEXTS.map(embed), metadata: TEXTS.map((text) => ({ text })) });
    const found = await store.query({ indexName, using: "text", queryVector: embed("old tree"), topK: 1, includeVector: true });
    assert.equal(found[0].metadata.text, "old tree");
    assert.equal(found[0].vector.length, DIM);
    assert.deepEqual(await store.query({ indexName, using: "image", queryVector: [1, 2], topK: 1 }), []);
    await assert.rejects(store.upsert({ indexName, vectorName: "sound", vectors: [[1]] }));
  },
  async scrollMmrAndAlias() { // the store has none of its own: its client does, and it takes an alias for an index
    await fresh();
    const page = await store.client.scroll(NAME, { limit: 8, with_payload: ["n"] });
    assert.deepEqual(page.points.map((p) => p.payload.n).sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
    const mmr = { nearest: embed("red apple"), mmr: { diversity: 0.8, candidates_limit: 8 } };
    const found = await store.client.query(NAME, { query: mmr, limit: 3, with_payload: true });
    assert.equal(found.points[0].payload.n, 0);
    assert.notDeepEqual(found.points.map((p) => p.payload.n), (await ask("red apple", 3)).map((r) => r.metadata.n));
    await store.client.updateCollectionAliases({ actions: [{ create_alias: { collection_name: NAME, alias_name: "mastra-now" } }] });
    const [first] = await store.query({ indexName: "mastra-now", queryVector: embed("old tree"), topK: 1 });
    assert.equal(first.metadata.text, "old tree");
    await store.client.updateCollectionAliases({ actions: [{ delete_alias: { alias_name: "mastra-now" } }] });
  },
  async dropping() {
    await fresh();
    await store.deleteIndex({ indexName: NAME });
    assert.ok(!(await store.listIndexes()).includes(NAME));
  },
});
