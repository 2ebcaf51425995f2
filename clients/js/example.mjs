// Upload a matrix and a stream of points, then ask. Needs a running kith: node example.mjs [http://localhost:6333]
import { Kith, KithError } from "./kith-extras.mjs";

const kith = new Kith(process.argv[2] ?? "http://localhost:6333");
const dim = 16, rows = 1000;

// A matrix: a typed array, row by row. The collection is made.
const vectors = Float32Array.from({ length: rows * dim }, (_, i) => Math.sin(i * i));
await kith.call("DELETE", "/collections/example");
console.log(await kith.upload("example", vectors, { dim, firstId: 0, distance: "Cosine" }), "vectors stored");

// Points with payloads, from anything that can be iterated; never all in memory.
const row = (i) => vectors.subarray(i * dim, (i + 1) * dim);
function* points() {
  for (let i = 0; i < rows; i++) yield { id: rows + i, vector: row(i), payload: { copyOf: i } };
}
console.log(await kith.uploadPoints("example", points()), "points stored");

// Any other route, if the official client is not at hand.
const found = await kith.call("POST", "/collections/example/points/query",
  { query: [...row(7)], limit: 2, with_payload: true });
for (const point of found.points) console.log(point.id, point.score.toFixed(4), JSON.stringify(point.payload));

// All points, or those of a filter, one after the other; never all in memory.
let lines = 0;
const filter = { must: [{ key: "copyOf", range: { lt: 5 } }] };
for await (const point of kith.export("example", { filter })) lines += point.payload.copyOf < 5;
console.log(lines, "points exported");

// A row that is refused is named, and what came before it is kept.
try {
  await kith.uploadPoints("example", [{ id: 1, vector: row(1) }, { id: 2, vector: [1, 2, 3] }]);
} catch (error) {
  if (!(error instanceof KithError)) throw error;
  console.log("refused:", error.text, "- accepted:", error.accepted);
}
