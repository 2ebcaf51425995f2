// clients/js: the module and its example against a fresh server. KITH_ROOT: where the sources are.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { URL_, run } from "./common.mjs";

const HOME = `${process.env.KITH_ROOT}/clients/js`;
const { Kith, KithError } = await import(pathToFileURL(`${HOME}/kith-extras.mjs`));
const kith = new Kith(URL_ + "/");
const clear = () => kith.call("DELETE", "/collections/x");
const rows = async () => Object.fromEntries((await kith.call("POST", "/collections/x/points/scroll",
  { limit: 10000, with_vector: true })).points.map((p) => [p.id, p.vector]));
const refused = (promise, status, accepted, text) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof KithError, error.stack);
  assert.deepEqual([error.status, error.accepted], [status, accepted], error.text);
  assert.match(error.text, text);
  return true;
});

await run({
  async matricesOfEveryKind() {
    const numbers = [0, 1, 2, 3, 4, 5];
    const odd = new Float32Array([9, ...numbers]).subarray(1); // not at the beginning of its buffer
    for (const vectors of [Float32Array, Uint8Array, Int8Array, Uint8ClampedArray, Float64Array, Int32Array, BigInt64Array]
      .map((type) => type.from(type === BigInt64Array ? numbers.map(BigInt) : numbers)).concat([odd])) {
      await clear();
      assert.equal(await kith.upload("x", vectors, { dim: 3, distance: "Dot" }), 2);
      assert.deepEqual(await rows(), { 0: [0, 1, 2], 1: [3, 4, 5] });
    }
    await clear();
    assert.equal(await kith.upload("x", [[0, 1, 2], new Float32Array([3, 4, 5])], { distance: "Dot" }), 2);
    assert.deepEqual(await rows(), { 0: [0, 1, 2], 1: [3, 4, 5] });
  },
  async ids() {
    await clear();
    await kith.upload("x", [[1, 2]], { distance: "Dot", firstId: 40 });
    await kith.upload("x", [[3, 4], [5, 6]]);
    assert.deepEqual(await rows(), { 40: [1, 2], 41: [3, 4], 42: [5, 6] });
    await kith.upload("x", [[7, 8]], { firstId: 2n ** 64n - 1n });
    await kith.uploadPoints("x", [{ id: 2n ** 64n - 2n, vector: [8, 9] }]);
    for (const [id, vector] of [["18446744073709551615", [7, 8]], ["18446744073709551614", [8, 9]]])
      assert.deepEqual((await kith.call("GET", `/collections/x/points/${id}`)).vector, vector);
  },
  async large() {
    await clear();
    assert.equal(await kith.upload("x", new Float32Array(5000 * 128).fill(0.5), { dim: 128, distance: "Dot" }), 5000);
    assert.equal((await kith.call("GET", "/collections/x")).points_count, 5000);
  },
  async points() {
    await clear();
    async function* points() {
      for (let id = 0; id < 5000; id++) yield { id, vector: new Float32Array(64).fill(id), payload: { text: "é".repeat(50) } };
    }
    assert.equal(await kith.uploadPoints("x", points(), { distance: "Euclid" }), 5000);
    assert.deepEqual((await kith.call("GET", "/collections/x/points/7")).payload, { text: "é".repeat(50) });
    assert.equal(await kith.uploadPoints("x", [{ vector: new Array(64).fill(0), id: "550e8400-e29b-41d4-a716-446655440000" }]), 1);
  },
  async whatIsRefused() {
    await clear();
    for (const [vectors, options] of [[[], {}], [[[]], {}], [[[1, 2], [3]], {}], [new Float32Array(6), {}], [new Float32Array(6), { dim: 4 }],
      [new Float32Array(0), { dim: 4 }]])
      await assert.rejects(kith.upload("x", vectors, { distance: "Dot", ...options }), RangeError);
    await refused(kith.upload("x", [[1, 2]]), 404, 0, /doesn't exist/);
    await kith.upload("x", [[1, 2]], { distance: "Dot" });
    await refused(kith.uploadPoints("x", [{ id: 5, vector: [1, 1] }, { id: 6, vector: [1] }]), 400, 1, /line 2/);
    await refused(kith.upload("a/b", [[1, 2]]), 400, 0, /./);
    await refused(kith.call("GET", "/collections/none"), 404, 0, /doesn't exist/);
  },
  async recall() {
    await clear();
    await kith.upload("x", Float32Array.from({ length: 2000 * 16 }, (_, i) => Math.sin(i * i)), { dim: 16, distance: "Cosine" });
    const got = await kith.recall("x", { searches: [{ query: 1, limit: 5 }, { query: 2, limit: 5 }], recall: 0.9 });
    assert.deepEqual([got.queries, got.searches.map((s) => s.of)], [2, [5, 5]]);
    assert.equal((await kith.recall("x", { minutes: 3 })).minutes, 3);
    await assert.rejects(kith.recall("x", { searches: [], recall: 2 }), KithError);
  },
  async exports() {
    await clear();
    const sent = Array.from({ length: 20000 }, (_, id) => ({ id, vector: [id, 1], payload: { n: id, t: "é".repeat(30) } }));
    await kith.uploadPoints("x", sent, { distance: "Dot" });
    const collect = async (points) => {
      const all = [];
      for await (const point of points) all.push(point);
      return all;
    };
    const sorted = (points) => points.map(({ id, vector, payload }) => ({ id, vector, payload }));
    assert.deepEqual(sorted(await collect(kith.export("x"))), sent);
    const filter = { must: [{ key: "n", range: { lt: 2 } }] };
    assert.deepEqual(await collect(kith.export("x", { filter, withPayload: ["n"], withVector: false })),
      [{ id: 0, payload: { n: 0 } }, { id: 1, payload: { n: 1 } }]);
    const { data, dim, ids } = await kith.exportMatrix("x");
    assert.deepEqual([dim, data.length, [...data.subarray(-2)], ids.at(-1)], [2, 40000, [19999, 1], 19999n]);
    const uuid = "550e8400-e29b-41d4-a716-446655440000";
    await kith.uploadPoints("x", [{ id: uuid, vector: [5, 6], payload: { n: -1 } }]);
    assert.deepEqual(await kith.exportMatrix("x", { filter }),
      { data: new Float32Array([0, 1, 1, 1, 5, 6]), dim: 2, ids: ["0", "1", uuid] });
    await clear();
    await refused(collect(kith.export("x")), 404, 0, /doesn't exist/);
    await refused(kith.exportMatrix("x"), 404, 0, /doesn't exist/);
  },
  async example() {
    const lines = execFileSync(process.execPath, [`${HOME}/example.mjs`, URL_]).toString().trim().split("\n");
    assert.deepEqual(lines.slice(0, 2), ["1000 vectors stored", "1000 points stored"]);
    assert.deepEqual(lines.slice(2, 4).sort(), ["1007 1.0000 {\"copyOf\":7}", "7 1.0000 {}"]);
    assert.equal(lines[4], "5 points exported");
    assert.match(lines[5], /^refused: .*line 2: .*expected dim: 16, got 3.* - accepted: 1$/);
  },
});
