// The keyboard in a grid: from picture to picture, and what to do with each.

import { find } from './dom.js'
import { bind } from './keys.js'
import { canMark, collect, hitOf, hits, mark, ownerOf, pictureOf } from './hits.js'
import { extend, selected, toggle } from './selection.js'
import { undoLast } from './toast.js'

const current = () => hitOf(document.activeElement)
const isOpen = () => Boolean(find('dialog:modal'))

/** Whoever has not gone into the grid yet comes in at the first picture in sight. */
function firstInSight () {
  const bar = find('.top')?.getBoundingClientRect().bottom ?? 0
  return hits().find((hit) => hit.getBoundingClientRect().top >= bar - 20) ?? hits()[0]
}

function focusHit (hit) {
  pictureOf(hit).focus({ preventScroll: true })
  hit.scrollIntoView({ block: 'nearest', behavior: 'instant' })
}

const middleOf = ({ left, right }) => (left + right) / 2

/** The hit in the next row, before or after, that is nearest to right above or below. */
function inNextRow (all, hit, step) {
  const from = find('.frame', hit).getBoundingClientRect()
  let row = null
  let best = null
  for (let place = all.indexOf(hit) + step; place >= 0 && place < all.length; place += step) {
    const box = find('.frame', all[place]).getBoundingClientRect()
    if (Math.abs(box.top - from.top) < 2) continue
    row ??= box.top
    if (Math.abs(box.top - row) >= 2) break
    const distance = Math.abs(middleOf(box) - middleOf(from))
    if (!best || distance < best.distance) best = { hit: all[place], distance }
  }
  return best?.hit
}

const MOVES = {
  ArrowLeft: (all, hit) => all[all.indexOf(hit) - 1],
  ArrowRight: (all, hit) => all[all.indexOf(hit) + 1],
  ArrowUp: (all, hit) => inNextRow(all, hit, -1),
  ArrowDown: (all, hit) => inNextRow(all, hit, 1),
  Home: (all) => all[0],
  End: (all) => all.at(-1)
}

function move (event) {
  if (isOpen()) return false
  const from = current()
  const elsewhere = ![document.body, find('main'), null].includes(document.activeElement)
  const enters = event.key.startsWith('Arrow') && !event.shiftKey
  if (!from && (elsewhere || !enters)) return false
  const to = from ? MOVES[event.key](hits(), from) : firstInSight()
  if (!to) return loadMore(event.key)
  focusHit(to)
  if (event.shiftKey && from) extend(to, from)
}

/** At the end there may be more than is loaded. */
function loadMore (key) {
  const link = find('main .more > a')
  if (!link || !['ArrowRight', 'ArrowDown'].includes(key)) return false
  window.htmx?.trigger(link, 'near')
}

/** The item that is looked at; without one all that are selected, else the focused. */
function meant () {
  const looked = find('#detail[open] .item')
  if (looked) return [looked]
  if (isOpen()) return []
  const many = selected()
  if (many.length) return many
  const one = current()
  return one ? [one] : []
}

function pressSelect ({ target }) {
  const hit = current()
  if (!hit || isOpen() || target.closest('button')) return false
  toggle(hit)
}

function searchLike () {
  const owner = find('#detail[open] .item') ?? (isOpen() ? null : current() ?? ownerOf(find('main .item')))
  const link = owner && (find('a.like', owner) ?? find('.actions a.primary', owner))
  if (!link) return false
  link.click()
}

bind(['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], 'From picture to picture; with Shift, select them', move)
bind(['Home', 'End'], 'To the first, to the last picture', move)
bind('Enter', 'Look at the picture', () => false)
bind(' ', 'Select', pressSelect)
if (canMark()) {
  bind(['p', '+'], 'Good: more of this kind', () => mark(meant(), true))
  bind(['x', '-'], 'Bad: less of this kind', () => mark(meant(), false))
}
bind('a', 'Add to a collection', () => collect(meant()))
bind('m', 'More like this', searchLike)
bind('u', 'Undo', undoLast)
