// Runs in the extension host what the driver sends it: a line of JSON each way, on the socket that PALIMPSEST_PROBE names.

const net = require("node:net");
const readline = require("node:readline");
const vscode = require("vscode");

const AsyncFunction = (async () => {}).constructor;
const kept = {}; // between calls

exports.activate = () => {
  const answer = async (line) => {
    try {
      const { code, argument } = JSON.parse(line);
      return { value: (await new AsyncFunction("vscode", "kept", "argument", code)(vscode, kept, argument)) ?? null };
    } catch (error) {
      return { error: String(error?.stack ?? error) };
    }
  };
  const serve = (socket) => {
    readline.createInterface({ input: socket }).on("line", async (line) => {
      socket.write(`${JSON.stringify(await answer(line))}\n`);
    });
    socket.on("error", () => {});
  };
  net.createServer(serve).listen(process.env.PALIMPSEST_PROBE);
};
