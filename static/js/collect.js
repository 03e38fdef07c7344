// Puts pictures into collections: whoever tells `collect` has the dialog opened.

import { find, findAll, heed, Refused, send } from './dom.js'
import { toast } from './toast.js'

const WAITING = 'laionweb:collect'
const WAITS_S = 1_800
const ITEM = 'application/x-laionweb-item'

const dialog = find('#collect')
const list = dialog && find('#collect-list', dialog)
const box = dialog && find('input[name=name]', dialog)
const make = dialog && find('.make', dialog)
let items = []
let collections = []
let known = false
let asked = 0
let loading = null
let sending = null // the change before, which the list is to show

const pictures = (count) => `${count.toLocaleString('en')} picture${count === 1 ? '' : 's'}`

// -- open

function open (wanted) {
  if (!dialog || !wanted?.length) return
  items = wanted
  find('h2', dialog).textContent = items.length === 1 ? 'Add to a collection' : `Add ${pictures(items.length)} to a collection`
  if (!dialog.open) dialog.showModal()
  if (!box) return leadToAccount()
  box.value = ''
  complain('')
  box.focus()
  // What was there last time is shown until it is known anew; then nothing has them.
  collections = collections.map((collection) => ({ ...collection, has: 0 }))
  show()
  loading = load()
}

async function load () {
  const number = ++asked
  dialog.classList.toggle('loading', !known)
  try {
    await sending
    const answer = await send(dialog.dataset.choose, { items: JSON.stringify(items) })
    if (number !== asked) return
    collections = answer.collections
    known = true
    show()
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    if (number === asked) complain(error.message)
  } finally {
    dialog.classList.remove('loading')
  }
}

function complain (message) {
  const place = find('.wrong', dialog)
  place.textContent = message
  place.hidden = !message
}

// -- which one

const plain = (text) => text.normalize('NFKD').toLowerCase()

function show () {
  const words = plain(box.value.trim())
  const fitting = collections.filter(({ name }) => plain(name).includes(words))
  list.replaceChildren(...fitting.map(row))
  make.hidden = !words || collections.some(({ name }) => plain(name) === words)
  find('span', make).textContent = `“${box.value.trim()}”`
  if (!collections.length && !words && known) list.append(nothing())
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

function nothing () {
  const told = document.createElement('li')
  told.className = 'facts'
  told.textContent = 'No collections yet: name the first one.'
  return told
}

function choose (collection) {
  if (collection.has === items.length) takeOut(collection)
  else add(collection)
}

box?.addEventListener('input', show)
make?.addEventListener('click', () => create(box.value.trim()))
find('.choosing', dialog ?? document)?.addEventListener('submit', async (event) => {
  event.preventDefault()
  await loading // or a name that exists would be given a second time
  if (!dialog.open) return
  const first = find('.choice', list)
  if (first) first.click()
  else if (box.value.trim()) create(box.value.trim())
})

// From the box into the list and back, as in any list of choices.
dialog?.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (!step || !box) return
  const stops = [box, ...findAll('.choice', list), ...(make.hidden ? [] : [make])]
  const next = stops[stops.indexOf(document.activeElement) + step]
  if (!next) return
  event.preventDefault()
  next.focus()
})

// -- into it, out of it: it is told at once, and told anew if it came out otherwise

/** `work` sends it; what it answers is what the toast then says, and how to undo it. */
async function perform (text, work) {
  dialog.close()
  const sent = work()
  sending = sent.catch(() => {})
  const undo = async () => {
    const { toast: told } = await sent
    if (told.undo) toast((await send(told.undo.url, told.undo.data)).toast)
  }
  toast({ text, undo })
  try {
    const { toast: told } = await sent
    if (told.text !== text) toast({ text: told.text, undo: told.undo && undo })
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    toast({ text: error.message })
  }
}

const posting = (url, data) => () => send(url, data, { seconds: 60 })

function add ({ url, name }) {
  const data = { items: JSON.stringify(items), words: words() }
  return perform(`Added ${pictures(items.length)} to “${name}”.`, posting(`${url}add`, data))
}

function takeOut ({ url, name }) {
  const data = { items: JSON.stringify(items) }
  return perform(`Took ${pictures(items.length)} out of “${name}”.`, posting(`${url}remove`, data))
}

function create (name) {
  const data = { name, items: JSON.stringify(items), words: words() }
  return perform(`Made “${name}” with ${pictures(items.length)}.`, posting(dialog.dataset.create, data))
}

/** What was searched for: it counts as what led to these pictures. */
const words = () => document.body.matches('.searching') ? new URLSearchParams(location.search).get('q') ?? '' : ''

// -- without an account

function leadToAccount () {
  for (const link of findAll('[data-way]', dialog)) {
    link.search = new URLSearchParams({ next: location.pathname + location.search })
  }
}

dialog?.addEventListener('click', ({ target }) => {
  if (!target.closest('[data-way]')) return
  try {
    sessionStorage.setItem(WAITING, JSON.stringify({ items, until: Date.now() + WAITS_S * 1000 }))
  } catch {
    // Where storage is forbidden, they have to be chosen again.
  }
})

function goOn () {
  if (!box) return
  try {
    const waiting = JSON.parse(sessionStorage.getItem(WAITING))
    sessionStorage.removeItem(WAITING)
    if (waiting?.until > Date.now()) open(waiting.items)
  } catch {
    // Nothing waits where storage is forbidden.
  }
}

// -- dropped pictures

const pad = find('#collect-drop')
const brings = (event) => event.dataTransfer?.types.includes(ITEM)

document.addEventListener('dragstart', (event) => {
  // Not at once: a page that changes while a drag begins ends it.
  setTimeout(() => { if (pad && brings(event)) pad.hidden = false })
})
document.addEventListener('dragend', () => { if (pad) pad.hidden = true })
pad?.addEventListener('dragover', (event) => {
  if (!brings(event)) return
  event.preventDefault()
  event.stopPropagation()
})
pad?.addEventListener('drop', (event) => {
  if (!brings(event)) return
  event.preventDefault()
  event.stopPropagation()
  pad.hidden = true
  open([JSON.parse(event.dataTransfer.getData(ITEM))].flat())
})

heed('collect', ({ items: wanted }) => open(wanted))
goOn()
