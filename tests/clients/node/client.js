// A client that knows nothing but protos/: one call of each kind, told as JSON for test_node.py.
"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = path.join(__dirname, "../../../protos");
const definition = loader.loadSync("dragoman/v1/translation.proto", {
  includeDirs: [protos], enums: String, longs: Number, defaults: true,
});
const { dragoman } = grpc.loadPackageDefinition(definition);
const client = new dragoman.v1.TranslationService(process.argv[2], grpc.credentials.createInsecure());
const pair = { sourceLanguageCode: "en", targetLanguageCode: "fr" };

/** Makes a unary call; resolves to its reply, or its error, and the ids that came after it. */
function call(method, request, headers = {}) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return new Promise((resolve) => {
    const told = {};
    const running = client[method](request, metadata, { deadline: Date.now() + 20000 }, (error, reply) => {
      told.reply = reply;
      if (error) told.error = { code: error.code, details: error.details, hasDetails: hasDetails(error) };
    });
    running.on("status", (status) => resolve({ ...told, requestId: status.metadata.get("x-request-id")[0] }));
  });
}

function hasDetails(error) {
  return error.metadata.get("grpc-status-details-bin").length === 1;
}

/** Sends some texts through one stream; resolves to the replies. */
function stream(texts) {
  return new Promise((resolve, reject) => {
    const replies = [];
    const running = client.StreamTranslate({ deadline: Date.now() + 20000 });
    running.on("data", (reply) => replies.push(reply)).on("error", reject).on("end", () => resolve(replies));
    texts.forEach((content, index) => running.write({ id: `${index}`, content, options: index ? null : pair }));
    running.end();
  });
}

async function main() {
  const text = "Straße 🎉 is a word. The red house is old.";
  const output = { alignment: "ALIGNMENT_MODE_HARD", offsetUnit: "OFFSET_UNIT_UTF16_CODE_UNIT" };
  const told = {
    models: await call("ListModels", {}),
    translated: await call("Translate", { contents: [text, ""], ...pair, output }, { "x-request-id": "node-42" }),
    aligned: await call("Align", { pairs: [{ sourceText: "The red house.", targetText: "La maison rouge." }], ...pair }),
    streamed: await stream(["Good morning.", "Yes. No."]),
    refused: await call("Translate", { contents: ["Hi."], ...pair, targetLanguageCode: "xx" }),
    detected: await call("DetectLanguage", { contents: ["Where is the station?"] }),
    unserved: await call("Translate", { contents: ["Hi."], ...pair, doNotTranslate: ["Hi"] }),
  };
  // JavaScript counts in UTF-16 code units: spans cut its strings as they are.
  const [translation] = told.translated.reply.translations;
  told.sentences = translation.sentences.map(({ sourceSpan, targetSpan }) => [
    text.slice(sourceSpan.start, sourceSpan.end), translation.translatedText.slice(targetSpan.start, targetSpan.end),
  ]);
  console.log(JSON.stringify(told));
  client.close();
}

main();
