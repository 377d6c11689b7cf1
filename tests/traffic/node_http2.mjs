// Asks a server over one HTTP/2 connection and prints what came of it as one line of JSON: 200 requests at a time as far
// as the server lets, an upload of 3 MiB that comes back, and a request after one that was cancelled.
import http2 from 'node:http2'
import fs from 'node:fs'

const [url, ca] = process.argv.slice(2)
const session = http2.connect(url, { ca: fs.readFileSync(ca) })
session.on('error', error => { console.log(JSON.stringify({ error: String(error) })); process.exit(1) })

function ask(headers, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers)
    const pieces = []
    let status
    stream.on('response', fields => { status = fields[':status'] })
    stream.on('data', piece => pieces.push(piece))
    stream.on('end', () => resolve({ status, body: Buffer.concat(pieces) }))
    stream.on('error', reject)
    if (body) stream.end(body)
    else stream.end()
  })
}

const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => ask({ ':path': `/${n}` })))
const gets = answers.filter((answer, n) => answer.status === 200 && answer.body.toString() === `origin /${n}\n`).length
const body = Buffer.alloc(3 << 20, 'farm')
const upload = await ask({ ':path': '/upload', ':method': 'POST' }, body)
const cancelled = session.request({ ':path': '/cancelled' })
cancelled.on('error', () => {})
cancelled.close(http2.constants.NGHTTP2_CANCEL)
const after = await ask({ ':path': '/after' })
console.log(JSON.stringify({
  protocol: session.alpnProtocol === 'h2c' ? 'h2' : session.alpnProtocol,
  gets,
  uploaded: body.length,
  came_back: body.equals(upload.body) ? upload.body.length : -1,
  after_cancel: after.status,
}))
session.close()
