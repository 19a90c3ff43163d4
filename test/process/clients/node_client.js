// node node_client.js LIBRARY MODE PORT... : a script of commands, then INCRs until standard input ends, with a line for
// each second-long gap. LIBRARY: ioredis | redis. MODE: plain | cluster. Prints "ready", then "done {...}".
const [library, mode, ...ports] = process.argv.slice(2);
const path = process.env.CAIRN_NODE_MODULES;

async function connect() {
  if (library === 'ioredis') {
    const Redis = require(path + '/ioredis');
    const options = {maxRetriesPerRequest: null, retryStrategy: () => 50};
    const client = mode === 'cluster'
        ? new Redis.Cluster(ports.map(p => ({host: '127.0.0.1', port: +p})),
                            {clusterRetryStrategy: () => 50, slotsRefreshTimeout: 1000,
                             redisOptions: {connectTimeout: 1000}})
        : new Redis({...options, host: '127.0.0.1', port: +ports[0]});
    client.on('error', () => {});
    return {call: (...argv) => client.call(...argv), end: () => client.disconnect()};
  }
  const redis = require(path + '/redis');
  const client = mode === 'cluster'
      ? redis.createCluster({rootNodes: ports.map(p => ({url: 'redis://127.0.0.1:' + p})),
                             topologyRefreshOnReconnectionAttemptStrategy: 500,
                             defaults: {socket: {connectTimeout: 1000, reconnectStrategy: 50}}})
      : redis.createClient({url: 'redis://127.0.0.1:' + ports[0], socket: {reconnectStrategy: 50}});
  client.on('error', () => {});
  await client.connect();
  const call = mode === 'cluster' ? (name, ...rest) => client.sendCommand(rest[0], false, [name, ...rest])
                                  : (...argv) => client.sendCommand(argv);
  return {call, end: () => client.destroy()};
}

async function main() {
  const client = await connect();
  const equal = (got, wanted, what) => {
    if (JSON.stringify(got) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(got)}`);
  };
  let commands = 0;
  for (let i = 0; i < 50; ++i) {
    const key = `${library}-${mode}-${i}`;
    equal(await client.call('SET', key, 'v' + i), 'OK', 'SET');
    equal(await client.call('GET', key), 'v' + i, 'GET');
    equal(await client.call('HSET', key + '-h', 'f', String(i)), 1, 'HSET');
    equal(await client.call('HGET', key + '-h', 'f'), String(i), 'HGET');
    equal(await client.call('DEL', key, ), 1, 'DEL');
    equal(await client.call('DEL', key + '-h'), 1, 'DEL');
    commands += 6;
  }
  console.log('ready');
  let ending = false, longest = 0, errors = 0, writes = 0;
  process.stdin.on('data', () => { ending = true; });
  process.stdin.on('end', () => { ending = true; });
  const last = {};
  while (!ending) {
    for (let i = 0; i < 32 && !ending; ++i) {
      const key = `${library}-count-${i}`, began = Date.now();
      for (;;) {
        try {
          // Known or not, a SET may be sent again.
          await Promise.race([client.call('SET', key, String(writes)),
                              new Promise((_, no) => setTimeout(() => no(new Error('slow')), 1500))]);
          break;
        } catch (error) {
          ++errors;
          last.error = String(error.message);
          await new Promise(yes => setTimeout(yes, 20));
        }
      }
      ++writes;
      longest = Math.max(longest, Date.now() - began);
    }
  }
  console.log('done ' + JSON.stringify({commands, writes, errors, longest_ms: longest, last_error: last.error}));
  client.end();
  process.exit(0);
}
main().catch(error => { console.log('failed ' + error.stack); process.exit(1); });
