// OpenAI's client for Node, started by openai_clients.py: node openai_clients.mjs BASE_URL MODEL EMBEDDING_MODEL

import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, model, embeddingModel] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Name three animals that live in the sea." }];
const chat = (fields) => client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 24, ...fields });
const text = (answer) => answer.choices[0].message.content;

const checks = {
  async models() {
    const ids = [];
    for await (const found of client.models.list()) ids.push(found.id);
    assert.deepEqual(ids, [model, embeddingModel]);
  },

  async chat() {
    const answer = await chat();
    assert.ok(text(answer).length > 0);
    assert.equal(answer.usage.completion_tokens, 24);
    assert.equal(answer.choices[0].finish_reason, "length");
    const again = [...messages, answer.choices[0].message, { role: "user", content: "Name another." }];
    assert.ok(text(await chat({ messages: again })).length > 0);
  },

  async stream() {
    let streamed = "", usage = null;
    for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } })) {
      streamed += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    const answer = await chat();
    assert.equal(streamed, text(answer));
    assert.deepEqual(usage, answer.usage);
  },

  async "stream helper"() {
    const fields = { model, messages, temperature: 0, max_tokens: 24 };
    const runner = client.chat.completions.stream(fields);
    assert.equal(await runner.finalContent(), text(await chat()));
  },

  async "stream left"() {
    const stream = await chat({ stream: true, max_tokens: 4000, ignore_eos: true });
    let n = 0;
    for await (const _ of stream) if (++n === 5) break;
    assert.equal(n, 5);
    assert.ok(stream.controller.signal.aborted);
  },

  async logprobs() {
    const { logprobs, message } = (await chat({ logprobs: true, top_logprobs: 2 })).choices[0];
    const bytes = logprobs.content.flatMap((token) => token.bytes);
    assert.equal(new TextDecoder().decode(new Uint8Array(bytes)), message.content);
    for (const token of logprobs.content) assert.equal(token.top_logprobs[0].logprob, token.logprob);
    const fields = { model, prompt: "Water boils at", max_tokens: 4, logprobs: 1, echo: true };
    const completion = await client.completions.create(fields);
    assert.equal(completion.choices[0].logprobs.tokens.join(""), completion.choices[0].text);
  },

  async embeddings() {
    const embed = (fields) => client.embeddings.create({ model: embeddingModel, input: ["heart", "rice"], ...fields });
    // Base64 unless told otherwise, which the client unpacks.
    const answer = await embed();
    const floats = await embed({ encoding_format: "float" });
    assert.deepEqual(answer.data.map((item) => item.embedding.length), [384, 384]);
    answer.data.forEach((item, i) => assert.deepEqual(Array.from(item.embedding), floats.data[i].embedding.map(Math.fround)));
    assert.equal(answer.usage.total_tokens, 6);
    await assert.rejects(embed({ input: "" }), OpenAI.BadRequestError);
    await assert.rejects(embed({ model: "other" }), OpenAI.NotFoundError);
  },

  async errors() {
    await assert.rejects(chat({ model: "other" }), OpenAI.NotFoundError);
    await assert.rejects(chat({ max_tokenz: 1 }), OpenAI.BadRequestError);
    await assert.rejects(chat({ messages: [{ role: "user", content: " a".repeat(9000) }] }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.code, "context_length_exceeded");
      return true;
    });
  },
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`${`node: ${name}`.padEnd(32)} ok`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`${`node: ${name}`.padEnd(32)} FAILED: ${error.message}`);
  }
}
