// Lab 416: the whole life cycle of a proxy and its toxics, by npm's toxiproxy-node-client.
// node toxiproxy.js PORT; what it prints does not depend on time or on ports.
const net = require("net");
const { execSync } = require("child_process");
const root = execSync("npm root -g", { stdio: ["ignore", "pipe", "ignore"] }).toString().trim();
const { Toxiproxy } = require(root + "/toxiproxy-node-client");

const show = (what, seen) => console.log(what.padEnd(14) + seen);
const refused = (what, promise) => promise.then(() => show(what, "accepted"), error => show(what, error.message));

/** Half-closes, and reads to the end: the server answers then. */
function call(proxy) {
  return new Promise(resolve => {
    let text = "";
    const socket = net.connect(Number(proxy.listen.split(":").pop()), "127.0.0.1");
    socket.on("connect", () => socket.end());
    socket.on("data", data => text += data);
    socket.on("end", () => resolve("«" + text + "»"));
    socket.on("error", error => resolve(error.code));
  });
}

async function life(toxiproxy, upstream) {
  let proxy = await toxiproxy.createProxy({ name: "stock", listen: "127.0.0.1:0", upstream });
  show("create", proxy.name + " enabled " + proxy.enabled);
  show("a call", await call(proxy));
  await refused("create again", toxiproxy.createProxy({ name: "stock", listen: "127.0.0.1:0", upstream }));
  await refused("no such proxy", toxiproxy.get("none"));
  const toxics = { latency: { latency: 200, jitter: 0 }, bandwidth: { rate: 1000 }, slow_close: { delay: 10 },
    timeout: { timeout: 100 }, slicer: { average_size: 5, size_variation: 0, delay: 10 }, limit_data: { bytes: 4 },
    reset_peer: { timeout: 0 } };
  for (const [type, attributes] of Object.entries(toxics)) {
    const toxic = await proxy.addToxic({ type, name: type, stream: "downstream", toxicity: 1, attributes });
    show(type, await call(proxy));
    await (await proxy.getToxic(type)).remove();
  }
  const latency = await proxy.addToxic({ type: "latency", name: "slow", attributes: { latency: 300 } });
  const next = await latency.update({ attributes: { latency: 0 } });
  show("update", next.attributes.latency + " " + next.stream + " " + next.toxicity);
  await refused("jitter", latency.update({ attributes: { jitter: 10 } }));
  await refused("bad type", proxy.addToxic({ type: "tornado", attributes: {} }));
  const listen = proxy.listen;
  proxy = await proxy.update({ ...proxy.toJson(), enabled: false });
  show("disable", await call(proxy));
  proxy = await proxy.update({ ...proxy.toJson(), enabled: true });
  show("enable", await call(proxy) + ", same port " + (listen === proxy.listen));
  await toxiproxy.reset();
  show("reset", await call(await toxiproxy.get("stock")));
  await proxy.remove();
  const all = await toxiproxy.populate([{ name: "a", listen: "127.0.0.1:0", upstream },
    { name: "b", listen: "127.0.0.1:0", upstream }]);
  show("populate", Object.keys(all).join(" "));
  for (const each of Object.values(await toxiproxy.getAll())) {
    await each.remove();
  }
  show("delete", Object.keys(await toxiproxy.getAll()).length + " proxies");
}

const server = net.createServer({ allowHalfOpen: true }, client => {
  client.on("error", () => {});
  client.on("end", () => client.end("17 in stock"));
  client.resume();
});
server.listen(0, "127.0.0.1", () =>
  life(new Toxiproxy("http://127.0.0.1:" + process.argv[2]), "127.0.0.1:" + server.address().port)
    .finally(() => server.close()));
