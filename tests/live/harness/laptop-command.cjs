// A command of a laptop: asks the process of the tests to play it, and says what came of it.
// usage: laptop-command.cjs SOCKET COMMAND ARGUMENT...
const http = require("node:http");
const { setInterval } = require("node:timers");

const [socketPath, ...command] = process.argv.slice(2);
const request = http.request({ socketPath, method: "POST" }, (response) => {
  const isGood = response.statusCode === 200;
  response.pipe(isGood ? process.stdout : process.stderr);
  response.on("end", () => {
    if (!isGood) process.exitCode = 1;
    else if (command.includes("port-forward")) setInterval(() => undefined, 60_000); // until it is ended
  });
});
request.on("error", (error) => {
  process.stderr.write(`${error}\n`);
  process.exitCode = 1;
});
request.end(JSON.stringify(command));
