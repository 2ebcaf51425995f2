// What the JS client tests share: where the server is, embeddings without a network, the verdict.
import { createHash } from "node:crypto";
import assert from "node:assert/strict";

export const URL_ = process.env.KITH_URL ?? "http://127.0.0.1:6333";
export const DIM = 32;
export const TEXTS = ["red apple", "green apple", "red car", "blue car", "blue sky", "green tree", "old tree",
  "new house"];

// A unit vector that depends on the words alone, so that texts with words in common are near.
export function embed(text) {
  const vector = new Array(DIM).fill(0);
  for (const word of text.toLowerCase().split(" ")) {
    const digest = createHash("sha256").update(word).digest();
    for (let i = 0; i < DIM; i++) vector[i] += digest[i] / 127.5 - 1;
  }
  const norm = Math.hypot(...vector);
  return vector.map((v) => v / norm);
}

export const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-5, `${a} is not ${b}`);

// Runs {name: async () => ...} one after the other and ends the process with the verdict.
export async function run(tests) {
  let passed = 0, failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      passed++;
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${error.stack}`);
      if (error.data) console.log(JSON.stringify(error.data));
      if (error.cause) console.log(error.cause);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}
