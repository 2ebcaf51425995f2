// The published JS client, unmodified.
import assert from "node:assert/strict";
import { QdrantClient } from "@qdrant/js-client-rest";
import { DIM, TEXTS, URL_, embed, near, run } from "./common.mjs";

const NAME = "js-client";
const client = new QdrantClient({ url: URL_ });
const ids = (result) => result.points.map((p) => p.id);
const rejects = (promise, status, text) => assert.rejects(promise, (error) => {
  assert.equal(error.status, status);
  assert.ok(error.data.status.error.includes(text), error.data.status.error);
  return true;
});

async function fresh() {
  await client.deleteCollection(NAME);
  assert.equal(await client.createCollection(NAME, { vectors: { size: DIM, distance: "Cosine" } }), true);
  const done = await client.upsert(NAME, {
    wait: true,
    points: TEXTS.map((text, i) => ({
      id: i, vector: embed(text), payload: { text, n: i, colour: text.split(" ")[0], tags: text.split(" ") },
    })),
  });
  assert.equal(done.status, "completed");
}

await run({
  async collections() {
    await fresh();
    assert.deepEqual(await client.collectionExists(NAME), { exists: true });
    assert.ok((await client.getCollections()).collections.some((c) => c.name === NAME));
    const info = await client.getCollection(NAME);
    assert.deepEqual([info.status, info.points_count, info.config.params.vectors.size], ["green", TEXTS.length, DIM]);
    await rejects(client.createCollection(NAME, { vectors: { size: 2, distance: "Dot" } }), 409, "already exists");
    await rejects(client.getCollection("no-such"), 404, "Not found: Collection `no-such` doesn't exist!");
    assert.equal(await client.deleteCollection("no-such"), false);
  },
  async query() {
    await fresh();
    const found = await client.query(NAME, { query: embed("red apple"), limit: 3, with_payload: true, with_vector: true });
    assert.equal(found.points[0].id, 0);
    near(found.points[0].score, 1);
    assert.equal(found.points[0].payload.text, "red apple");
    assert.equal(found.points[0].vector.length, DIM);
    assert.deepEqual(ids(await client.query(NAME, { query: embed("blue sky"), limit: 8, score_threshold: 0.999 })), [4]);
    assert.ok(!ids(await client.query(NAME, { query: 4, limit: 8 })).includes(4));
    const batch = await client.queryBatch(NAME, {
      searches: [{ query: embed("red car"), limit: 1 }, { query: embed("new house"), limit: 1, with_payload: ["n"] }],
    });
    assert.deepEqual(batch.map((b) => b.points[0].id), [2, 7]);
    assert.deepEqual(batch[1].points[0].payload, { n: 7 });
    await rejects(client.query(NAME, { query: [1, 2] }), 400, "Vector dimension error: expected dim: 32, got 2");
  },
  async mmr() {
    await fresh();
    const query = { nearest: embed("red apple"), mmr: { diversity: 0.8, candidates_limit: 8 } };
    const found = ids(await client.query(NAME, { query, limit: 3 }));
    assert.equal(found[0], 0);
    assert.equal(new Set(found).size, 3);
    assert.notDeepEqual(found, ids(await client.query(NAME, { query: embed("red apple"), limit: 3 })));
  },
  async filters() {
    await fresh();
    const where = async (filter) =>
      ids(await client.query(NAME, { query: embed("red apple"), limit: 20, filter })).sort();
    assert.deepEqual(await where({ must: [{ key: "colour", match: { value: "red" } }] }), [0, 2]);
    assert.deepEqual(await where({ must: [{ key: "n", range: { gte: 2, lt: 5 } }] }), [2, 3, 4]);
    assert.deepEqual(await where({ must_not: [{ key: "tags", match: { any: ["car", "tree"] } }] }), [0, 1, 4, 7]);
    assert.deepEqual(await where({ should: [{ has_id: [1] }, { key: "n", match: { value: 3 } }] }), [1, 3]);
    assert.deepEqual((await client.count(NAME, {
      filter: { must: [{ key: "colour", match: { except: ["red"] } }] }, exact: true,
    })), { count: 6 });
  },
  async hybridGroupsOrderAndFacets() {
    await fresh();
    const prefetch = [{ query: embed("red apple"), limit: 4 }, { query: embed("red car"), limit: 4 }];
    assert.deepEqual(ids(await client.query(NAME, { prefetch, query: { fusion: "rrf" }, limit: 2 })).sort(), [0, 2]);
    await client.createPayloadIndex(NAME, { field_name: "n", field_schema: "integer", wait: true });
    await client.createPayloadIndex(NAME, { field_name: "colour", field_schema: { type: "keyword" }, wait: true });
    const page = await client.scroll(NAME, { order_by: { key: "n", direction: "desc" }, limit: 3 });
    assert.deepEqual([page.points.map((p) => p.id), page.next_page_offset], [[7, 6, 5], null]);
    const { groups } = await client.queryGroups(NAME, { query: embed("red apple"), group_by: "colour", limit: 2, group_size: 2 });
    assert.deepEqual(groups.map((g) => [g.id, g.hits[0].id]), [["red", 0], ["green", 1]]);
    const { hits } = await client.facet(NAME, { key: "colour", limit: 3 });
    assert.deepEqual(hits, [{ value: "blue", count: 2 }, { value: "green", count: 2 }, { value: "red", count: 2 }]);
  },
  async reading() {
    await fresh();
    const page = await client.scroll(NAME, { limit: 5, with_payload: true, with_vector: false });
    assert.deepEqual([page.points.map((p) => p.id), page.next_page_offset], [[0, 1, 2, 3, 4], 5]);
    const rest = await client.scroll(NAME, { limit: 5, offset: page.next_page_offset });
    assert.deepEqual([rest.points.map((p) => p.id), rest.next_page_offset], [[5, 6, 7], null]);
    const records = await client.retrieve(NAME, { ids: [3, 99], with_payload: ["text"], with_vector: false });
    assert.deepEqual(records.map((r) => [r.id, r.payload]), [[3, { text: "blue car" }]]);
  },
  async ids() {
    await fresh();
    const uuid = "550e8400-e29b-41d4-a716-446655440000", big = 2n ** 63n + 1n;
    await client.upsert(NAME, { wait: true, points: [{ id: uuid, vector: embed("a") }] });
    const raw = JSON.stringify({ points: [{ id: 1, vector: embed("b") }] }).replace('"id":1', `"id":${big}`);
    const reply = await fetch(`${URL_}/collections/${NAME}/points?wait=true`, {
      method: "PUT", body: raw, headers: { "Content-Type": "application/json" },
    });
    assert.equal(reply.status, 200);
    const [found] = ids(await client.query(NAME, { query: embed("b"), limit: 1 }));
    assert.equal(Number(found), Number(big)); // a BigInt where JSON.parse shows the source (Node 21)
    const text = await (await fetch(`${URL_}/collections/${NAME}/points/${big}`)).text();
    assert.ok(text.includes(`"id":${big},`), text);
    assert.deepEqual(ids(await client.query(NAME, { query: embed("a"), limit: 1 })), [uuid]);
    await rejects(client.retrieve(NAME, { ids: ["nothing"] }), 400, "is not a valid point ID");
  },
  async payloadOperations() {
    await fresh();
    await client.setPayload(NAME, { payload: { a: 1, n: null }, points: [0, 1] });
    await client.setPayload(NAME, { payload: { deep: 1 }, key: "nested.object", points: [0] });
    await client.overwritePayload(NAME, { payload: { only: true }, filter: { must: [{ key: "n", range: { gte: 6 } }] } });
    await client.deletePayload(NAME, { keys: ["tags", "colour"], points: [0] });
    await client.clearPayload(NAME, { points: [5], wait: true });
    const payload = (await client.retrieve(NAME, { ids: [0, 5, 6, 7] })).map((r) => r.payload);
    assert.deepEqual(payload, [{ text: "red apple", a: 1, nested: { object: { deep: 1 } } }, {}, { only: true },
      { only: true }]);
    await rejects(client.setPayload(NAME, { payload: {}, points: [99], wait: true }), 404, "No point with id 99 found");
  },
  async deleting() {
    await fresh();
    const done = await client.delete(NAME, { points: [1, 77] }); // without wait, as the client does
    assert.equal(done.status, "acknowledged");
    assert.equal(typeof done.operation_id, "number");
    await client.delete(NAME, { wait: true, filter: { must: [{ key: "colour", match: { value: "blue" } }] } });
    assert.deepEqual((await client.scroll(NAME, { limit: 100 })).points.map((p) => p.id), [0, 2, 5, 6, 7]);
  },
  async batchUpdate() {
    await fresh();
    const done = await client.batchUpdate(NAME, {
      wait: true,
      operations: [{ upsert: { points: [{ id: 50, vector: embed("q") }] } },
        { set_payload: { payload: { x: 1 }, points: [50] } }, { delete: { points: [0] } }],
    });
    assert.deepEqual(done.map((d) => d.status), ["completed", "completed", "completed"]);
    assert.deepEqual((await client.retrieve(NAME, { ids: [0, 50] })).map((r) => [r.id, r.payload]), [[50, { x: 1 }]]);
  },
  async aliases() {
    await fresh();
    const change = (...actions) => client.updateCollectionAliases({ actions });
    assert.equal(await change({ create_alias: { collection_name: NAME, alias_name: "now" } }), true);
    assert.deepEqual(await client.count("now"), { count: 8 });
    assert.deepEqual((await client.getCollectionAliases(NAME)).aliases, [{ alias_name: "now", collection_name: NAME }]);
    assert.equal(await change({ rename_alias: { old_alias_name: "now", new_alias_name: "then" } },
      { delete_alias: { alias_name: "then" } }), true);
    assert.deepEqual((await client.getAliases()).aliases, []);
    await rejects(change({ create_alias: { collection_name: "none", alias_name: "x" } }), 404, "doesn't exist");
  },
  async service() {
    assert.equal((await client.versionInfo()).title, "qdrant - vector search engine");
  },
});
