// The manual order of a collection: members are dragged by their grip, or moved by keys.

import { emit, find } from './dom.js'
import { bind } from './keys.js'
import { announce, change, chosen, dialog, itemOf, list, memberOf, members } from './collection.js'
import { dragByGrip } from './reorder.js'

const EDGE = 90 // pixels from an edge of the window within which a drag scrolls
const BAR = 70 // pixels that the bar at the top covers
const STEP = 14 // pixels to scroll per frame
const THRESHOLD = 6 // pixels until a press is a drag

const isManual = list?.dataset.order === 'hand'

// -- one move

/** Move a member on the page, then on the server; move it back if that fails. */
async function put (hit, before) {
  const origin = hit.nextElementSibling
  if (before === hit || before === origin) return
  const anchor = before?.matches('.hit') ? before : null
  const last = members().filter((each) => each !== hit).at(-1)
  list.insertBefore(hit, before)
  announcePlace(hit)
  const data = anchor
    ? { to: 'before', anchor: JSON.stringify([itemOf(anchor)]) }
    : { to: 'after', anchor: JSON.stringify([itemOf(last)]) }
  const undo = () => {
    // If the next one was the link to more, the next page may have replaced it.
    list.insertBefore(hit, origin?.isConnected ? origin : find('.more', list))
    announcePlace(hit)
  }
  if (!await change('move', [hit], data, undo)) undo()
}

function announcePlace (hit) {
  emit('settled')
  announce(`Now at position ${members().indexOf(hit) + 1}`)
}

// -- by the keyboard

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }

async function moveByKey (event) {
  const grip = event.target.closest?.('.grip')
  const hit = memberOf(grip)
  if (!isManual || !hit || find('dialog:modal')) return false
  const all = members()
  const place = all.indexOf(hit)
  if (event.key === 'Home') return moveFar(hit, { to: 'first' })
  if (event.key === 'End') return moveFar(hit, { to: 'last' })
  const step = STEPS[event.key]
  const other = all[place + step]
  if (!other) return
  const moved = put(hit, step < 0 ? other : other.nextElementSibling)
  grip.focus()
  hit.scrollIntoView({ block: 'nearest' })
  await moved
}

/** Move a member to a place that may lie on another page of the list. */
async function moveFar (hit, data) {
  if (await change('move', [hit], data)) {
    const all = members()
    if (data.to === 'first') list.prepend(hit)
    else if (data.to === 'last' && !find('.more', list)) list.append(hit)
    else if (data.to === 'place' && data.place <= all.length) {
      const others = all.filter((each) => each !== hit)
      list.insertBefore(hit, others[data.place - 1] ?? find('.more', list))
    } else hit.remove()
    if (hit.isConnected) {
      announcePlace(hit)
      find('.grip', hit).focus()
    } else emit('settled')
  }
}

if (isManual) {
  bind(['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], '', (event) => {
    if (!event.target.closest?.('.grip')) return false
    moveByKey(event)
  })
  bind(['Home', 'End'], '', (event) => {
    if (!event.target.closest?.('.grip')) return false
    moveByKey(event)
  })
}

dialog?.addEventListener('click', (event) => {
  const to = event.target.closest('[data-to]')?.dataset.to
  if (!to) return
  dialog.close()
  moveFar(chosen(), { to })
})
find('.place', dialog ?? document)?.addEventListener('submit', (event) => {
  event.preventDefault()
  const place = Number(event.target.elements.place.value)
  dialog.close()
  moveFar(chosen(), { to: 'place', place })
})

// -- by mouse, pen and touch

let pointer = null // where it is, while a member is dragged
let drop = null // the member under the pointer, and whether to go after it

/** The member under the pointer, and the side of it that the dragged one would go to. */
function showDrop (hit) {
  const [x, y] = pointer
  const over = memberOf(document.elementFromPoint(x, y))
  clearDrop()
  if (!over || over === hit) return
  const box = over.getBoundingClientRect()
  const after = x > box.left + box.width / 2
  over.classList.add(after ? 'drop-after' : 'drop-before')
  drop = { over, after }
}

function clearDrop () {
  for (const each of members()) each.classList.remove('drop-before', 'drop-after')
  drop = null
}

/** Scroll while the pointer is near the top or the bottom of the window. */
function scrollAtEdges (hit) {
  if (!hit.matches('.moving')) return
  const y = pointer?.[1]
  const step = y < EDGE + BAR ? -STEP : y > innerHeight - EDGE ? STEP : 0
  if (step) {
    scrollBy(0, step)
    showDrop(hit)
  }
  requestAnimationFrame(() => scrollAtEdges(hit))
}

const stop = (event) => event.stopImmediatePropagation()

const cancel = dragByGrip({
  threshold: THRESHOLD,
  itemOf: (grip) => isManual ? memberOf(grip) : null,
  start (hit) {
    hit.classList.add('moving')
    document.body.classList.add('arranging')
    scrollAtEdges(hit)
  },
  move (hit, x, y) {
    pointer = [x, y]
    showDrop(hit)
  },
  end (hit, dropped) {
    const place = dropped && drop
    pointer = null
    hit.classList.remove('moving')
    document.body.classList.remove('arranging')
    clearDrop()
    // The click that ends a drag must not open the dialog.
    addEventListener('click', stop, true)
    setTimeout(() => removeEventListener('click', stop, true))
    if (place) put(hit, place.after ? place.over.nextElementSibling : place.over)
  }
})
bind('Escape', '', cancel)
