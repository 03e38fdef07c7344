// Uploads files in chunks: several at once, resumed after a broken connection or a
// reload. Without this script the form sends small files.

import { find, findAll } from './dom.js'

const PARALLEL = 4
const MAX_PAUSE_MS = 30_000
const MAX_ROWS = 1_000 // of the list of files; the others are in the total
const TIMEOUT_MS = 120_000 // for a chunk without any progress
const HIDDEN = /^\.|^(thumbs\.db|desktop\.ini)$/i
const WAITING = 'The connection is lost. The upload continues by itself when it is back.'
const SIGNED_OUT = 'You are signed out. Sign in again, then choose the same files to continue.'
const UNREADABLE = 'The file cannot be read: it was changed, moved or deleted.'

let session = null // {key, chunkBytes, files, started, before, lost, source}
let config = null // of the page: the API's address, and limits

const number = (count) => count.toLocaleString('en')
const plural = (count) => `${number(count)} file${count === 1 ? '' : 's'}`
const sum = (files, key) => files.reduce((total, each) => total + each[key], 0)

function bytes (count) {
  const units = ['bytes', 'KB', 'MB', 'GB']
  let unit = 0
  for (; count >= 1000 && unit < 3; unit++) count /= 1000
  return `${count.toFixed(unit > 1 && count < 100 ? 1 : 0)} ${units[unit]}`
}

function time (seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

// -- requests

/** A failed request: `status` 0 without an answer. */
class Failure extends Error {
  constructor (message, status) {
    super(message)
    this.status = status
  }

  get isPassing () { return !this.status || this.status === 429 || this.status >= 500 }
}

/** Send JSON or bytes; `onProgress` gets the bytes of the body that were sent. */
function request (method, url, { body = null, onProgress = null, owner = null } = {}) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest()
    let silence
    const listen = () => {
      clearTimeout(silence)
      silence = setTimeout(() => xhr.abort(), TIMEOUT_MS)
    }
    xhr.open(method, url)
    xhr.responseType = 'json'
    xhr.setRequestHeader('X-CSRFToken', find('meta[name=csrf-token]').content)
    const isJson = body && !(body instanceof ArrayBuffer)
    if (body) xhr.setRequestHeader('Content-Type', isJson ? 'application/json' : 'application/octet-stream')
    xhr.upload.onprogress = ({ loaded }) => { listen(); onProgress?.(loaded) }
    xhr.onloadend = () => {
      clearTimeout(silence)
      if (owner) owner.xhr = null
      if (xhr.status >= 200 && xhr.status < 300) return resolve(xhr.response)
      reject(new Failure(xhr.response?.detail ?? (xhr.status === 413 ? 'It is too large for this server.' : 'The server refused it.'), xhr.status))
    }
    if (owner) owner.xhr = xhr
    listen()
    xhr.send(isJson ? JSON.stringify(body) : body)
  })
}

const api = (path = '') => config.api + path

// -- choosing files

/** Return {file, name} of what was dropped, folders included. */
async function dropped (transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)
  if (!entries.length) return picked(transfer)
  const found = []
  for (const entry of entries) await walk(entry, found)
  return found
}

async function walk (entry, found) {
  if (HIDDEN.test(entry.name)) return
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject))
    found.push({ file, name: entry.fullPath.slice(1) })
    return
  }
  const reader = entry.createReader()
  for (;;) { // a reader returns a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))
    if (!some.length) return
    for (const each of some) await walk(each, found)
  }
}

const picked = ({ files }) => [...files]
  .map((file) => ({ file, name: file.webkitRelativePath || file.name }))
  .filter(({ file }) => !HIDDEN.test(file.name))

async function add (chosen) {
  const maxFiles = Number(config.maxFiles)
  if (!chosen.length) return
  if (chosen.length + (session?.files.length ?? 0) > maxFiles) {
    return complain(`An upload has up to ${number(maxFiles)} files: put them into a zip file.`)
  }
  complain('')
  const known = session?.files ?? []
  const names = new Set(known.map((each) => each.name))
  const files = chosen
    .filter(({ file, name }) => !known.some((each) => each.name === name && each.size === file.size && each.version === versionOf(file)))
    .map(({ file, name }) => ({ file, name: free(name, names), size: file.size, version: versionOf(file), offset: 0, sent: 0, state: 'waiting', error: '', row: null, xhr: null }))
  if (!files.length) return
  if (!session) {
    session = { key: '', files: [], lost: false, source: '', started: performance.now(), before: 0, opening: null }
    session.opening = open(session, files)
  }
  const current = session
  current.files.push(...files)
  show()
  try {
    await current.opening
  } catch (error) {
    if (session !== current) return
    session = null
    show()
    return complain(error.status === 401 || error.status === 403 ? SIGNED_OUT : error.message)
  }
  if (session === current) pump()
  else if (current.isCancelled) remove(current.key) // which it had not got yet
}

const versionOf = (file) => String(file.lastModified)

/** Return a name that none of the others has: two folders may have files of one name. */
function free (name, names) {
  let free = name
  for (let count = 2; names.has(free); count++) free = name.replace(/(\.[^./]*)?$/, ` (${count})$1`)
  names.add(free)
  return free
}

/** Find the unfinished upload that these files are of, or create one. */
async function open (current, files) {
  const wanted = new Set(files.map((each) => `${each.size} ${each.name.normalize('NFC')}`))
  for (const { key } of await request('GET', api())) {
    const upload = await request('GET', api(`${key}/`))
    const isSame = upload.files.every((each) => wanted.has(`${each.size} ${each.name}`))
    if (isSame && upload.files.length) return take(current, upload)
  }
  const size = sum(files, 'size')
  take(current, await request('POST', api(), { body: { files: files.length, bytes: size } }))
}

function take (current, upload) {
  current.key = upload.key
  current.chunkBytes = upload.chunk_bytes
  resume(current, upload)
  current.before = sum(current.files, 'offset')
  current.started = performance.now()
  find(`#upload [data-key="${upload.key}"]`)?.remove()
}

/** Take over what the server has of each file. */
function resume (current, upload) {
  const offsets = new Map(upload.files.map((each) => [`${each.complete ? '' : each.version} ${each.size} ${each.name}`, each.offset]))
  for (const each of current.files) {
    const name = `${each.size} ${each.name.normalize('NFC')}`
    each.offset = each.sent = offsets.get(` ${name}`) ?? offsets.get(`${each.version} ${name}`) ?? 0
    if (each.size && each.offset === each.size) each.state = 'done'
    mark(each)
  }
}

// -- sending

function pump () {
  if (!session || session.lost) return
  const active = session.files.filter((each) => each.state === 'sending').length
  const waiting = session.files.filter((each) => each.state === 'waiting')
  for (const each of waiting.slice(0, PARALLEL - active)) sendFile(session, each)
  if (!active && !waiting.length) finish()
  show()
}

async function sendFile (current, each) {
  each.state = 'sending'
  mark(each)
  try {
    if (each.size > Number(config.maxBytes)) throw new Failure('The file is too large.', 413)
    do await sendChunk(current, each)
    while (each.offset < each.size && session === current && !current.lost)
    each.state = each.offset === each.size ? 'done' : 'waiting'
  } catch (error) {
    if (session !== current) return
    if (!(error instanceof Failure)) throw error
    each.sent = each.offset
    if (error.isPassing) {
      each.state = 'waiting'
      mark(each)
      return wait(current)
    }
    each.state = 'failed'
    each.error = [401, 403].includes(error.status) ? SIGNED_OUT : error.message
  }
  mark(each)
  pump()
}

async function sendChunk (current, each) {
  const part = each.file.slice(each.offset, each.offset + current.chunkBytes)
  const body = await part.arrayBuffer().catch(() => { throw new Failure(UNREADABLE, 400) })
  const { name, size, offset, version } = each
  const query = new URLSearchParams({ name, size, offset, version })
  const onProgress = (loaded) => { each.sent = offset + loaded; mark(each) }
  try {
    const answer = await request('PUT', api(`${current.key}/file/?${query}`), { body, onProgress, owner: each })
    each.offset = each.sent = answer.offset
  } catch (error) {
    if (error.status !== 409) throw error
    // The answer to an earlier attempt was lost: the server knows what it has.
    resume(current, await request('GET', api(`${current.key}/`)))
    if (each.offset === offset) throw error
  }
}

/** Wait for the connection, with longer and longer pauses; then continue. */
async function wait (current) {
  if (current.lost) return
  current.lost = true
  for (const each of current.files) each.xhr?.abort()
  show()
  for (let pause = 1000; session === current; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, pause)
      addEventListener('online', () => { clearTimeout(timer); resolve() }, { once: true })
    })
    try {
      const upload = await request('GET', api(`${current.key}/`))
      if (session !== current) return
      resume(current, upload)
      current.lost = false
      return pump()
    } catch (error) {
      if (error.isPassing) continue
      for (const each of current.files.filter((each) => each.state !== 'done')) Object.assign(each, { state: 'failed', error: error.message })
      current.lost = false
      return finish()
    }
  }
}

async function finish () {
  const current = session
  const failed = current.files.filter((each) => each.state === 'failed')
  const done = current.files.length - failed.length
  let source = ''
  if (done) {
    try {
      source = (await request('GET', api(`${current.key}/`))).source
    } catch (error) {
      if (error.isPassing) return wait(current)
      complain(error.message)
    }
  }
  if (session !== current || current.files.some((each) => ['waiting', 'sending'].includes(each.state))) return
  current.source = source
  draw() // at once: what is hidden cannot have the focus
  say(failed.length ? `${plural(done)} uploaded, ${number(failed.length)} failed.` : `${plural(done)} uploaded.`)
  find(failed.length ? '#upload .again' : '#upload .next')?.focus()
}

async function cancel () {
  const { key, files } = session
  session.isCancelled = true
  session = null
  for (const each of files) each.xhr?.abort()
  find('#upload .files').replaceChildren()
  show()
  say('The upload is cancelled.')
  find('#upload .choose').focus()
  if (key) remove(key)
}

const remove = (key) => request('DELETE', api(`${key}/`)).catch((error) => complain(error.message))

function again () {
  for (const each of session.files.filter((each) => each.state === 'failed')) {
    Object.assign(each, { state: 'waiting', error: '' })
    mark(each)
  }
  session.source = ''
  pump()
}

// -- showing

let isDue = false
const changed = new Set()

function mark (each) {
  changed.add(each)
  show()
}

function show () {
  if (isDue) return
  isDue = true
  requestAnimationFrame(() => { isDue = false; draw() })
}

function draw () {
  const card = find('#upload')
  if (!card) return
  find('.sending', card).hidden = !session
  if (!session) return changed.clear()
  const { files, lost, source } = session
  const left = files.filter((each) => ['waiting', 'sending'].includes(each.state)).length
  const done = files.filter((each) => each.state === 'done').length
  const failed = files.length - left - done
  const [sent, total] = [sum(files, 'sent'), sum(files, 'size')]
  const seconds = (performance.now() - session.started) / 1000
  const gained = sent - session.before
  const rest = left && gained > 0 && seconds > 3 && !lost ? `, ${time((total - sent) * seconds / gained)} left` : ''
  find('.total', card).textContent = `${number(done)} of ${plural(files.length)}, ${bytes(sent)} of ${bytes(total)}${rest}${failed ? `; ${number(failed)} failed` : ''}`
  const bar = find('.sending > progress', card)
  bar.value = left ? sent / (total || 1) : 1
  find('.lost', card).textContent = lost ? WAITING : ''
  find('.cancel', card).textContent = left ? 'Cancel' : 'Delete'
  find('.again', card).hidden = Boolean(left) || !failed
  const next = find('.next', card)
  next.hidden = Boolean(left) || !source
  next.textContent = failed ? 'Continue without them' : 'Next'
  if (source) next.href = `${config.next}?source=${encodeURIComponent(source)}`
  drawRows(find('.files', card), files)
}

function drawRows (list, files) {
  for (const each of files.slice(list.childElementCount, MAX_ROWS)) {
    each.row = find('#upload template').content.firstElementChild.cloneNode(true)
    find('bdi', each.row).textContent = each.name
    list.append(each.row)
    changed.add(each)
  }
  for (const each of changed) {
    if (!each.row) continue
    each.row.dataset.state = each.state
    const share = each.size ? Math.floor(100 * each.sent / each.size) : 0
    find('.how', each.row).textContent = { waiting: bytes(each.size), sending: `${share} %`, done: `✓ ${bytes(each.size)}`, failed: each.error }[each.state]
    if (each.state === 'failed' && list.firstElementChild !== each.row) list.prepend(each.row)
  }
  changed.clear()
}

function say (text) {
  if (find('#upload')) find('#upload .spoken').textContent = text
}

function complain (text) {
  const wrong = find('#upload .wrong')
  if (!wrong) return
  wrong.textContent = text
  wrong.hidden = !text
}

// -- the page, which htmx may put in place again

function setUp () {
  const card = find('#upload')
  if (!card || card.dataset.ready) return
  card.dataset.ready = 'yes'
  config = card.dataset
  findAll('.with-script', card).forEach((each) => { each.hidden = false })
  findAll('.without-script', card).forEach((each) => each.remove())
  const drop = find('.drop', card)
  for (const button of findAll('.choose', card)) {
    const input = button.nextElementSibling
    button.addEventListener('click', () => input.click())
    input.addEventListener('change', () => { add(picked(input)); input.value = '' })
  }
  drop.addEventListener('dragover', (event) => { event.preventDefault(); drop.classList.add('over') })
  drop.addEventListener('dragleave', () => drop.classList.remove('over'))
  drop.addEventListener('drop', async (event) => {
    event.preventDefault()
    drop.classList.remove('over')
    add(await dropped(event.dataTransfer))
  })
  find('.cancel', card).addEventListener('click', cancel)
  find('.again', card).addEventListener('click', again)
  if (session) show()
}

setUp()
document.addEventListener('htmx:afterSettle', setUp)
addEventListener('beforeunload', (event) => {
  if (session?.files.some((each) => ['waiting', 'sending'].includes(each.state))) event.preventDefault()
})
