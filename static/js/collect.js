// Adds items to collections: the event `collect` opens the dialog.

import { find, findAll, listen, RequestError, send } from './dom.js'
import { bringsItems, droppedItems } from './hits.js'
import { parse, session } from './storage.js'
import { toast } from './toast.js'

const WAITING_KEY = 'laionweb:collect' // what a visitor chose before signing in
const MAX_WAIT_S = 1_800

const dialog = find('#collect')
const list = dialog && find('#collect-list', dialog)
const box = dialog && find('input[name=name]', dialog)
const make = dialog && find('.make', dialog)
let items = []
let collections = []
let loaded = false
let requests = 0
let loading = null
let sending = null // the latest change; the list is loaded after it

const pictures = (count) => `${count.toLocaleString('en')} image${count === 1 ? '' : 's'}`

// -- open

function open (chosen) {
  if (!dialog || !chosen?.length) return
  items = chosen
  find('h2', dialog).textContent = items.length === 1 ? 'Add to a collection' : `Add ${pictures(items.length)} to a collection`
  if (!dialog.open) dialog.showModal()
  if (!box) return linkToAccount()
  box.value = ''
  showError('')
  box.focus()
  // Until the answer comes, show the collections of last time, without the items.
  collections = collections.map((collection) => ({ ...collection, has: 0 }))
  show()
  loading = load()
}

async function load () {
  const number = ++requests
  dialog.classList.toggle('loading', !loaded)
  try {
    await sending
    const answer = await send(dialog.dataset.choose, { items: JSON.stringify(items) })
    if (number !== requests) return
    collections = answer.collections
    loaded = true
    show()
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    if (number === requests) showError(error.message)
  } finally {
    dialog.classList.remove('loading')
  }
}

function showError (message) {
  const notice = find('.wrong', dialog)
  notice.textContent = message
  notice.hidden = !message
}

// -- choose a collection

const normalized = (text) => text.normalize('NFKD').toLowerCase()

function show () {
  const words = normalized(box.value.trim())
  const matches = collections.filter(({ name }) => normalized(name).includes(words))
  list.replaceChildren(...matches.map(row))
  make.hidden = !words || collections.some(({ name }) => normalized(name) === words)
  find('span', make).textContent = `“${box.value.trim()}”`
  if (!collections.length && !words && loaded) list.append(emptyNotice())
}

function row (collection) {
  const shown = find('template', dialog).content.firstElementChild.cloneNode(true)
  const { name, size, has, shared } = collection
  find('.name', shown).textContent = name
  const facts = [size, shared && 'shared']
  if (has) facts.unshift(has === items.length ? '✓ in it' : `✓ ${has.toLocaleString('en')} in it`)
  find('.facts', shown).textContent = facts.filter(Boolean).join(' · ')
  find('button', shown).addEventListener('click', () => choose(collection))
  return shown
}

function emptyNotice () {
  const notice = document.createElement('li')
  notice.className = 'facts'
  notice.textContent = 'No collections yet. Enter a name to create one.'
  return notice
}

function choose (collection) {
  if (collection.has === items.length) takeOut(collection)
  else add(collection)
}

box?.addEventListener('input', show)
make?.addEventListener('click', () => create(box.value.trim()))
find('.choosing', dialog ?? document)?.addEventListener('submit', async (event) => {
  event.preventDefault()
  await loading // otherwise a name that exists could be used a second time
  if (!dialog.open) return
  const first = find('.choice', list)
  if (first) first.click()
  else if (box.value.trim()) create(box.value.trim())
})

// Arrow keys lead from the box into the list and back.
dialog?.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (!step || !box) return
  const stops = [box, ...findAll('.choice', list), ...(make.hidden ? [] : [make])]
  const next = stops[stops.indexOf(document.activeElement) + step]
  if (!next) return
  event.preventDefault()
  next.focus()
})

// -- add and take out

/**
 * Send a change and show `text` at once as a toast that undoes it; show the server's
 * own text if that differs.
 */
async function perform (text, url, data, link = '') {
  dialog.close()
  const sent = send(url, data, { seconds: 60 })
  sending = sent.catch(() => {})
  const undo = async () => {
    const { toast: answer } = await sent
    if (answer.undo) toast((await send(answer.undo.url, answer.undo.data)).toast)
  }
  toast({ text, undo, link })
  try {
    const { toast: answer, to } = await sent
    const isNew = !link && to
    if (answer.text !== text || isNew) toast({ text: answer.text, undo: answer.undo && undo, link: to })
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    toast({ text: error.message })
  }
}

function add ({ url, name }) {
  const data = { items: JSON.stringify(items), words: words() }
  return perform(`Added ${pictures(items.length)} to “${name}”.`, `${url}add`, data, url)
}

function takeOut ({ url, name }) {
  const data = { items: JSON.stringify(items) }
  return perform(`Removed ${pictures(items.length)} from “${name}”.`, `${url}remove`, data, url)
}

function create (name) {
  const data = { name, items: JSON.stringify(items), words: words() }
  return perform(`Created “${name}” with ${pictures(items.length)}.`, dialog.dataset.create, data)
}

/** The words of the search that found the items; popularity counts them. */
const words = () => document.body.matches('.searching') ? new URLSearchParams(location.search).get('q') ?? '' : ''

// -- without an account

function linkToAccount () {
  for (const link of findAll('[data-account]', dialog)) {
    link.search = new URLSearchParams({ next: location.pathname + location.search })
  }
}

dialog?.addEventListener('click', ({ target }) => {
  if (!target.closest('[data-account]')) return
  session.set(WAITING_KEY, JSON.stringify({ items, until: Date.now() + MAX_WAIT_S * 1000 }))
})

/** After signing in, open the dialog for what was chosen before. */
function resume () {
  if (!box) return
  const waiting = parse(session.take(WAITING_KEY))
  if (waiting?.until > Date.now()) open(waiting.items)
}

// -- dropped items

const pad = find('#collect-drop')

document.addEventListener('dragstart', (event) => {
  // Later, because a page that changes while a drag begins ends the drag.
  setTimeout(() => { if (pad && bringsItems(event)) pad.hidden = false })
})
document.addEventListener('dragend', () => { if (pad) pad.hidden = true })
pad?.addEventListener('dragover', (event) => {
  if (!bringsItems(event)) return
  event.preventDefault()
  event.stopPropagation()
})
pad?.addEventListener('drop', (event) => {
  if (!bringsItems(event)) return
  event.preventDefault()
  event.stopPropagation()
  pad.hidden = true
  open(droppedItems(event))
})

listen('collect', ({ items: chosen }) => open(chosen))
resume()
