// One session with Node's `ws`: node real_client.mjs MODULE URL. See real_client.py.
const { default: WebSocket } = await import(process.argv[2]);
const client = new WebSocket(process.argv[3]);
const events = [];
let ponged = false;
client.on("open", () => {
  client.ping("there?");
  const format = { channels: 1, sample_rate: 16000, bit_depth: 16, is_float: false };
  client.send(JSON.stringify({ request: "start", format }));
  for (let number = 0; number < 50; number++) client.send(Buffer.alloc(640));
  client.send(JSON.stringify({ request: "stop", disconnect: true }));
});
client.on("pong", (data) => {
  ponged = data.toString() === "there?";
});
client.on("message", (data) => events.push(JSON.parse(data.toString())));
client.on("close", (code) => {
  if (!ponged) throw new Error("no pong");
  console.log(JSON.stringify({ events, code }));
});
