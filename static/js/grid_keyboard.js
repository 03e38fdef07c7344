// The keyboard in a grid: moving from hit to hit, and the keys that act on hits.

import { find } from './dom.js'
import { bringIn } from './grid_window.js'
import { bind } from './keys.js'
import { canMark, collect, hitOf, hits, mark, ownerOf, pictureOf } from './hits.js'
import { extend, selected, toggle } from './selection.js'
import { undoLast } from './toast.js'

const current = () => hitOf(document.activeElement)
const isOpen = () => Boolean(find('dialog:modal'))

/** The hit that the first arrow key focuses. */
function firstInSight () {
  const bar = find('.top')?.getBoundingClientRect().bottom ?? 0
  return hits().find((hit) => hit.getBoundingClientRect().top >= bar - 20) ?? hits()[0]
}

function focusHit (hit) {
  bringIn(hit)
  pictureOf(hit).focus({ preventScroll: true })
  hit.scrollIntoView({ block: 'nearest', behavior: 'instant' })
}

const middleOf = ({ left, right }) => (left + right) / 2

/** The hit in the next row (step 1) or the row before (-1) that is nearest across. */
function inNextRow (all, hit, step) {
  const start = find('.frame', hit).getBoundingClientRect()
  let row = null
  let best = null
  for (let place = all.indexOf(hit) + step; place >= 0 && place < all.length; place += step) {
    const box = find('.frame', all[place]).getBoundingClientRect()
    if (Math.abs(box.top - start.top) < 2) continue
    row ??= box.top
    if (Math.abs(box.top - row) >= 2) break
    const distance = Math.abs(middleOf(box) - middleOf(start))
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
  const hit = current()
  const elsewhere = ![document.body, find('main'), null].includes(document.activeElement)
  const enters = event.key.startsWith('Arrow') && !event.shiftKey
  if (!hit && (elsewhere || !enters)) return false
  const next = hit ? MOVES[event.key](hits(), hit) : firstInSight()
  if (!next) return loadMore(event.key)
  focusHit(next)
  if (event.shiftKey && hit) extend(next, hit)
}

function loadMore (key) {
  const link = find('main .more > a')
  if (!link || !['ArrowRight', 'ArrowDown'].includes(key)) return false
  window.htmx?.trigger(link, 'near')
}

/** What a key acts on: the item in the panel, else the selected hits, else the focused. */
function targets () {
  const opened = find('#detail[open] .item')
  if (opened) return [opened]
  if (isOpen()) return []
  const many = selected()
  if (many.length) return many
  const focused = current()
  return focused ? [focused] : []
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

bind(['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], 'Move between images; with Shift, select them', move)
bind(['Home', 'End'], 'Go to the first or last image', move)
bind('Enter', 'View the image', () => false)
bind(' ', 'Select', pressSelect)
if (canMark()) {
  bind('p', 'Relevant: more like this', () => mark(targets(), true))
  bind('x', 'Not relevant: less like this', () => mark(targets(), false))
}
bind('a', 'Add to a collection', () => collect(targets()))
bind('m', 'More like this', searchLike)
bind('u', 'Undo', undoLast)
