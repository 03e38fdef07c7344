// Selecting hits, and acting on all selected ones at once.

import { emit, find, findAll, listen, RequestError, send } from './dom.js'
import { bind } from './keys.js'
import { collect, hitOf, hits, itemOf, keyOf, mark } from './hits.js'

const bar = find('#selection')
const MAX_SELECTED = Number(bar.dataset.max)
const chosen = new Map() // also of hits that are not on the page any more
let anchor = null // where a range begins

/** The selected hits that are on the page. */
export const selected = () => hits().filter((hit) => chosen.has(keyOf(hit)))

function setSelected (hit, isSelected) {
  const key = keyOf(hit)
  if (!isSelected) chosen.delete(key)
  else if (chosen.size < MAX_SELECTED && !chosen.has(key)) {
    chosen.set(key, { ...itemOf(hit), similarity: Number(hit.dataset.similarity ?? NaN) })
  }
  showOne(hit)
}

function showOne (hit) {
  const isSelected = chosen.has(keyOf(hit))
  hit.toggleAttribute('data-selected', isSelected)
  find('.check', hit)?.setAttribute('aria-pressed', isSelected)
}

export function toggle (hit) {
  setSelected(hit, !chosen.has(keyOf(hit)))
  anchor = hit
  show()
}

/** Select all hits between the one toggled last, else `start`, and this one. */
export function extend (hit, start = hit) {
  const all = hits()
  if (!all.includes(anchor)) anchor = start
  const [first, last] = [all.indexOf(anchor), all.indexOf(hit)].sort((a, b) => a - b)
  for (const each of all.slice(first, last + 1)) setSelected(each, true)
  show()
}

function selectAll () {
  for (const hit of hits()) setSelected(hit, true)
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
  const hadFocus = bar.contains(document.activeElement)
  bar.hidden = !chosen.size
  document.body.toggleAttribute('data-selecting', Boolean(chosen.size))
  const full = chosen.size >= MAX_SELECTED ? ', the maximum' : ''
  find('.count', bar).textContent = `${chosen.size.toLocaleString('en')} selected${full}`
  find('[data-select=all]', bar).hidden = selected().length === hits().length
  if (hadFocus && bar.hidden) find('a.picture', hits()[0])?.focus({ preventScroll: true })
}

// -- by the mouse and by touch

let byTouch = false
document.addEventListener('pointerdown', ({ pointerType }) => { byTouch = pointerType === 'touch' }, true)

// Captured, before the panel opens: with a key held, or by touch once a hit is selected.
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
  const action = target.closest?.('[data-select]')?.dataset.select
  if (action) actions[action]()
})

// -- actions

const actions = {
  all: selectAll,
  clear,
  good: () => mark(selected(), true),
  bad: () => mark(selected(), false),
  collect: () => collect(selected()),
  json: () => download('json'),
  csv: () => download('csv')
}

async function download (format) {
  const items = JSON.stringify([...chosen.values()]) // NaN becomes null
  try {
    const content = await send(`/selection.${format}`, { items }, { seconds: 60 })
    const text = typeof content === 'string' ? content : JSON.stringify(content, null, 2)
    save(new Blob([text], { type: format === 'csv' ? 'text/csv' : 'application/json' }), `selection.${format}`)
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    emit('toast', { text: error.message })
  }
}

function save (blob, name) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

// -- new results

let grid = find('main .grid')
listen('settled', () => {
  const current = find('main .grid')
  if (current !== grid) chosen.clear()
  grid = current
  findAll('main .hit').forEach((hit) => { if (hit.dataset.item) showOne(hit) })
  show()
})

listen('attached', ({ hits }) => hits.forEach(showOne))

bind('Escape', 'Clear the selection', () => find('dialog:modal') ? false : clear())
