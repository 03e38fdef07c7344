// Pictures that are selected, and what can be done with all of them at once.

import { find, findAll, heed, Refused, send, tell } from './dom.js'
import { bind } from './keys.js'
import { collect, hitOf, hits, itemOf, keyOf, mark } from './hits.js'

const chosen = new Map()
let anchor = null // where a range begins
const bar = find('#selection')
const MOST = Number(bar.dataset.most)

/** The selected hits that are on the page. */
export const selected = () => hits().filter((hit) => chosen.has(keyOf(hit)))

function put (hit, wanted) {
  const key = keyOf(hit)
  if (!wanted) chosen.delete(key)
  else if (chosen.size < MOST && !chosen.has(key)) {
    chosen.set(key, { ...itemOf(hit), similarity: Number(hit.dataset.similarity ?? NaN) })
  }
  showOne(hit)
}

function showOne (hit) {
  const is = chosen.has(keyOf(hit))
  hit.toggleAttribute('data-selected', is)
  find('.check', hit)?.setAttribute('aria-pressed', is)
}

export function toggle (hit) {
  put(hit, !chosen.has(keyOf(hit)))
  anchor = hit
  show()
}

/** Selects all from where the last one was selected up to this one. */
export function extend (hit, from = hit) {
  if (!anchor?.isConnected) anchor = from
  const all = hits()
  const [first, last] = [all.indexOf(anchor), all.indexOf(hit)].sort((a, b) => a - b)
  for (const each of all.slice(first, last + 1)) put(each, true)
  show()
}

function selectAll () {
  for (const hit of hits()) put(hit, true)
  anchor = hits()[0]
  show()
}

export function clear () {
  if (!chosen.size) return false
  const cleared = selected()
  chosen.clear()
  anchor = null
  cleared.forEach(showOne)
  show()
}

function show () {
  const held = bar.contains(document.activeElement)
  bar.hidden = !chosen.size
  document.body.toggleAttribute('data-selecting', Boolean(chosen.size))
  const full = chosen.size >= MOST ? ', no more than these' : ''
  find('.count', bar).textContent = `${chosen.size.toLocaleString('en')} selected${full}`
  find('[data-select=all]', bar).hidden = selected().length === hits().length
  if (held && bar.hidden) find('a.picture', hits()[0])?.focus({ preventScroll: true })
}

// -- by the mouse and by touch

let byTouch = false
document.addEventListener('pointerdown', ({ pointerType }) => { byTouch = pointerType === 'touch' }, true)

// Before the panel opens: with a key held, or in a selection by touch, a click selects.
document.addEventListener('click', (event) => {
  const hit = hitOf(event.target)
  if (!hit) return
  const onCheck = event.target.closest('.check')
  const onPicture = event.target.closest('a.picture')
  const adds = chosen.size && (event.ctrlKey || event.metaKey || byTouch)
  if (event.shiftKey && (onCheck || onPicture)) extend(hit)
  else if (onCheck || (onPicture && adds)) toggle(hit)
  else return
  event.preventDefault()
  event.stopImmediatePropagation()
}, true)

document.addEventListener('click', ({ target }) => {
  if (target.closest?.('[data-grid=select]')) selectAll()
  const way = target.closest?.('[data-select]')?.dataset.select
  if (way) ways[way]()
})

// -- what can be done

const ways = {
  all: selectAll,
  clear,
  good: () => mark(selected(), true),
  bad: () => mark(selected(), false),
  collect: () => collect(selected()),
  json: () => download('json'),
  csv: () => download('csv')
}

async function download (kind) {
  const items = JSON.stringify([...chosen.values()]) // NaN becomes null
  try {
    const content = await send(`/selection.${kind}`, { items }, { seconds: 60 })
    const text = typeof content === 'string' ? content : JSON.stringify(content, null, 2)
    save(new Blob([text], { type: kind === 'csv' ? 'text/csv' : 'application/json' }), `selection.${kind}`)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    tell('toast', { text: error.message })
  }
}

function save (blob, name) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

// -- results that come and go

let grid = find('main .grid')
heed('settled', () => {
  const another = find('main .grid')
  if (another !== grid) chosen.clear()
  grid = another
  findAll('main .hit').forEach((hit) => { if (hit.dataset.item) showOne(hit) })
  show()
})

bind('Escape', 'Clear the selection', () => find('dialog:modal') ? false : clear())
