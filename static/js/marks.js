// Marks on hits as good or bad, and the hits that the user has seen. They are stored per
// search in this tab; refine.js sends them as a round.

import { emit, find, findAll, listen } from './dom.js'
import { hits, isUnsafe } from './hits.js'
import { resultsAddress } from './navigation.js'
import { parse, session } from './storage.js'

const STRENGTHS = { '-2': 'gentle', '-1': 'mild', 0: 'balanced', 1: 'strong', 2: 'strongest' }

export const bar = find('#refine')
const MAX_MARKS = Number(bar.dataset.maxMarks)
const MAX_SEEN = Number(bar.dataset.maxSeen)
export const slider = find('.strength input', bar)
export const marks = new Map() // id → whether it is good, in the order of marking
export const veiled = new Set() // ids of the marked items whose images are blurred
export const search = { address: null, refined: false } // the search of these marks
export const seen = new Set() // ids of hits that have been visible

export const parameters = () => new URL(resultsAddress(), location.href).searchParams
export const dataset = () => hits()[0]?.dataset.dataset ?? parameters().get('dataset') ?? ''
export const isSearch = () => Boolean(find('#results') && !find('#results.start'))
export const ids = (good) => [...marks].filter(([, is]) => is === good).map(([id]) => id)

// -- the state of each search in this tab

const keyOf = (address) => `refine:${address}`

export const read = (address) => parse(session.get(keyOf(address)))

export const state = () => ({
  marks: [...marks],
  pull: slider.value,
  seen: [...seen],
  veiled: [...veiled],
  refined: search.refined
})

/** Without storage, marks last as long as the page. */
export function store (address = search.address, stored = state()) {
  session.set(keyOf(address), JSON.stringify(stored))
}

export function restore (stored) {
  marks.clear()
  seen.clear()
  veiled.clear()
  for (const [id, good] of stored?.marks ?? []) marks.set(id, good)
  for (const id of stored?.seen ?? []) seen.add(id)
  for (const id of stored?.veiled ?? []) veiled.add(id)
  slider.value = stored?.pull ?? 0
}

// -- marks

listen('mark', ({ items, good }) => {
  if (!isSearch()) return emit('toast', { text: 'Run a search first: marks refine its results.' })
  for (const { id } of items) {
    marks.delete(id)
    if (good !== null && marks.size < MAX_MARKS) marks.set(id, good)
    if (isUnsafe(id)) veiled.add(id) // its mark may outlast its hit on the page
  }
  if (marks.size >= MAX_MARKS) emit('toast', { text: `A round takes up to ${MAX_MARKS} marks.` })
  changed()
})

function changed () {
  store()
  emit('marked')
}

export function showMarks () {
  for (const owner of findAll('main .hit[data-item], #detail .item[data-item]')) {
    const good = marks.get(Number(owner.dataset.item))
    const name = good === undefined ? undefined : good ? 'good' : 'bad'
    if (owner.dataset.mark === name) continue
    if (name) owner.dataset.mark = name
    else delete owner.dataset.mark
  }
}

function thumbnail (id, good) {
  const shown = find('template.mark', bar).content.firstElementChild.cloneNode(true)
  const button = find('button', shown)
  button.dataset.id = id
  button.title = button.ariaLabel = `Unmark image ${id}, marked ${good ? 'relevant' : 'not relevant'}`
  button.toggleAttribute('data-unsafe', veiled.has(id))
  find('img', shown).src = `/t/${encodeURIComponent(dataset())}/${id}/160.webp`
  return shown
}

/** List the newest marks first. Thumbnails that stay are not loaded again. */
function list (good) {
  const list = find(good ? '.marks .good' : '.marks .bad', bar)
  const known = new Map(findAll('li', list).map((each) => [find('button', each).dataset.id, each]))
  list.replaceChildren(...ids(good).reverse().map((id) => known.get(String(id)) ?? thumbnail(id, good)))
}

find('.marks', bar).addEventListener('click', ({ target }) => {
  const button = target.closest('button')
  if (!button) return
  const others = findAll('.marks button', bar)
  const next = others[others.indexOf(button) + 1] ?? others.at(-2)
  marks.delete(Number(button.dataset.id))
  changed()
  if (next) find(`.marks button[data-id="${next.dataset.id}"]`, bar)?.focus()
  else find('a.picture', hits()[0] ?? document)?.focus({ preventScroll: true })
})

find('.clear', bar).addEventListener('click', () => {
  const before = state()
  const { address } = search
  marks.clear()
  changed()
  emit('toast', {
    text: 'Marks removed.',
    undo () {
      store(address, before)
      if (search.address !== address) return
      restore(before)
      emit('marked')
    }
  })
})

slider.addEventListener('input', () => {
  describeStrength()
  store()
})

function describeStrength () {
  slider.ariaValueText = STRENGTHS[slider.value]
}

/** List the marks in the bar, with their count. */
export function listMarks () {
  list(true)
  list(false)
  describeStrength()
  const good = ids(true).length
  find('.tally [role=status]', bar).textContent = marks.size ? `${good} relevant, ${marks.size - good} not` : 'No marks'
}

// -- hits that the user has seen

const visible = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && seen.size < MAX_SEEN) seen.add(Number(target.dataset.item))
  }
}, { threshold: 0.5 })

export function watch () {
  visible.disconnect()
  for (const hit of findAll('main .hit[data-item]')) visible.observe(hit)
}
