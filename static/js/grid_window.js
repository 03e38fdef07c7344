// Long lists of results: only the rows near the window are in the page. Spacers as high as
// the others take their place; hits() knows them all. Also the position in the list.

import { emit, find, findAll, listen } from './dom.js'
import { away, hits } from './hits.js'
import { resultsAddress } from './navigation.js'

const SCREENS = 2 // of rows that stay in the page above and below the window
const WHOLE = 140 // hits; a list of no more stays in the page as a whole
const MAX_STORED = 8 // lists whose rows outside the page are kept for Back

let grid = null
let rows = [] // {hits, height}; the height is the distance to the next row
let from = 0 // rows[from] is the first in the page,
let to = 0 // rows[to - 1] the last
const stored = new Map() // by address: the rows of a list that was left

const attached = () => findAll(':scope > .hit[data-item]', grid)
const gap = () => parseFloat(getComputedStyle(grid).rowGap) || 0

/** Group the hits in the page into rows, which new hits and another width change. */
function measure () {
  const boxes = attached().map((hit) => ({ hit, box: hit.getBoundingClientRect() }))
  const found = []
  for (const { hit, box } of boxes) {
    const row = found.at(-1)
    if (row && Math.abs(row.top - box.top) < 2) row.hits.push(hit)
    else found.push({ hits: [hit], top: box.top })
  }
  const end = boxes.length ? boxes.at(-1).box.bottom + gap() : 0
  found.forEach((row, place) => { row.height = (found[place + 1]?.top ?? end) - row.top })
  rows.splice(from, to - from, ...found.map(({ hits, height }) => ({ hits, height })))
  to = from + found.length
}

const heightOf = (list) => list.reduce((sum, { height }) => sum + height, 0)

function setSpacer (name, list) {
  let spacer = find(`:scope > .spacer.${name}`, grid)
  if (!list.length) return spacer?.remove()
  if (!spacer) {
    spacer = document.createElement('li')
    spacer.className = `spacer ${name}`
    spacer.ariaHidden = 'true'
    // Its height is an attribute: the policy for content forbids styles in stored pages.
    spacer.append(document.createElementNS('http://www.w3.org/2000/svg', 'svg'))
    spacer.firstChild.setAttribute('width', 1)
    if (name === 'above') grid.prepend(spacer)
    else (attached().at(-1) ?? find('.spacer.above', grid)).after(spacer)
  }
  spacer.firstChild.setAttribute('height', Math.max(0, heightOf(list) - gap()))
}

/** Have the rows from `first` up to `last` in the page, and no others. */
function setWindow (first, last) {
  if (first === from && last === to) return
  const stays = (place) => place >= first && place < last
  for (let place = from; place < to; place++) {
    if (!stays(place)) rows[place].hits.forEach((hit) => hit.remove())
  }
  const added = []
  const start = find(':scope > .spacer.above', grid)
  const fragment = (a, b) => {
    const all = document.createDocumentFragment()
    for (let place = a; place < b; place++) {
      if (place >= from && place < to) continue
      all.append(...rows[place].hits)
      added.push(...rows[place].hits)
    }
    return all
  }
  const before = fragment(first, Math.min(last, from))
  const after = fragment(Math.max(first, to), last)
  if (start) start.after(before)
  else grid.prepend(before)
  const end = find(':scope > .spacer.below', grid) ?? find(':scope > .more', grid)
  if (end) end.before(after)
  else grid.append(after)
  from = first
  to = last
  setSpacer('above', rows.slice(0, from))
  setSpacer('below', rows.slice(to))
  shareAway()
  if (added.length) emit('attached', { hits: added })
}

function shareAway () {
  away.grid = grid
  away.above = rows.slice(0, from).flatMap((row) => row.hits)
  away.below = rows.slice(to).flatMap((row) => row.hits)
}

const top = () => find(':scope > li', grid)?.getBoundingClientRect().top ?? 0

function trim () {
  if (!grid?.isConnected) return
  measure()
  const margin = SCREENS * innerHeight
  const start = top()
  let [first, last, y] = [rows.length, 0, start]
  rows.forEach(({ height }, place) => {
    if (y + height > -margin) first = Math.min(first, place)
    if (y < innerHeight + margin) last = place + 1
    y += height
  })
  if (hits().length <= WHOLE) setWindow(0, rows.length)
  else if (first < last) setWindow(first, last)
  scrolledAt = scrollY
}

/** Put a hit that is out of the page into it, with the rows around. */
export function bringIn (hit) {
  if (hit.isConnected || away.grid !== grid) return
  const place = rows.findIndex((row) => row.hits.includes(hit))
  if (place >= 0) setWindow(Math.max(0, place - 4), Math.min(rows.length, place + 5))
}

/** Put all hits into the page, where their places are about to change. */
function attachAll () {
  if (grid?.isConnected) setWindow(0, rows.length)
}

// -- the position

const note = find('#position')

/** The number of the last hit that is seen. */
function lastSeen () {
  let number = Number(grid.dataset.before ?? 0)
  let y = top()
  for (const row of rows) {
    if (y >= innerHeight) break
    number += row.hits.length
    y += row.height
  }
  return number
}

function showPosition () {
  if (!note) return
  note.hidden = !grid?.isConnected || scrollY < innerHeight
  if (note.hidden) return
  const all = find('.more', grid) ? Number(grid.dataset.total) : hits().length + Number(grid.dataset.before ?? 0)
  const total = all ? ` of ${find('.more', grid) ? 'about ' : ''}${Math.max(all, lastSeen()).toLocaleString('en')}` : ''
  find('span', note).textContent = `${lastSeen().toLocaleString('en')}${total}`
}

note && find('button', note).addEventListener('click', () => {
  bringIn(hits()[0])
  scrollTo({ top: 0, behavior: 'instant' })
  find('a.picture', hits()[0])?.focus({ preventScroll: true })
})

// -- when

let scrolledAt = 0
let frame = null
function soon () {
  frame ??= requestAnimationFrame(() => {
    frame = null
    if (!grid?.isConnected) return
    if (Math.abs(scrollY - scrolledAt) > innerHeight / 2) trim()
    showPosition()
  })
}

addEventListener('scroll', soon, { passive: true })

let width = innerWidth
addEventListener('resize', () => {
  if (innerWidth === width) return
  width = innerWidth
  attachAll()
})
document.addEventListener('input', ({ target }) => { if (target.matches('.grid-tools input')) attachAll() }, true)
document.addEventListener('click', ({ target }) => { if (target.closest?.('.grid-tools .layout')) attachAll() }, true)

// A new page belongs after all the others.
document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (grid?.contains(detail.target) && detail.target.matches('.more')) setWindow(from, rows.length)
})

function arrange () {
  const current = find('#results .grid')
  if (current !== grid) {
    grid = current
    rows = []
    from = to = 0
    if (grid) shareAway()
  }
  if (!grid) return showPosition()
  trim()
  showPosition()
}

listen('settled', arrange)

// -- Back

document.addEventListener('htmx:beforeHistorySave', ({ detail }) => {
  stored.delete(detail.path)
  if (!grid?.isConnected || !find('.spacer', grid)) return
  stored.set(detail.path, { rows, from, to })
  if (stored.size > MAX_STORED) stored.delete(stored.keys().next().value)
})

// Captured: before other modules look for the hits.
document.addEventListener('htmx:historyRestore', () => {
  grid = find('#results .grid')
  const list = stored.get(resultsAddress())
  if (!grid || !find('.spacer', grid)) grid = null
  else if (!list) location.reload() // its rows were lost with another page
  else {
    ({ rows, from, to } = list)
    const shown = attached()
    rows.slice(from, to).forEach((row) => { row.hits = shown.splice(0, row.hits.length) })
    shareAway()
  }
}, true)

arrange()
