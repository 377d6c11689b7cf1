// Makes calls with the package `ovh`, unmodified: each line of the input is one, each line of the output its outcome.
//
//   node node_ovh.mjs DIRECTORY < calls > outcomes
//
// DIRECTORY is where the package is installed. A call: {"client": what the package takes, "method", "path", "params"}.
// Its outcome: {"answer"}, or {"error", "message"}: what the package gives to those who called it; "warnings" has what it
// says of a call that it does not find in the schemas.
import { createRequire } from 'node:module'
import path from 'node:path'
import readline from 'node:readline'

const ovh = createRequire(path.join(path.resolve(process.argv[2]), 'from.js'))('ovh')
const clients = new Map()
let warnings = []

for await (const line of readline.createInterface({ input: process.stdin })) {
  const call = JSON.parse(line)
  const key = JSON.stringify(call.client)
  if (!clients.has(key)) clients.set(key, ovh({ ...call.client, warn: text => warnings.push(text) }))
  let outcome
  try {
    outcome = { answer: await clients.get(key).requestPromised(call.method, call.path, call.params) }
  } catch ({ error, message }) {
    outcome = { error, message }
  }
  process.stdout.write(JSON.stringify({ ...outcome, warnings }) + '\n')
  warnings = []
}
