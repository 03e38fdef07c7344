// The order made by hand: pictures are dragged by their grip, or moved by the keyboard.

import { find, tell } from './dom.js'
import { bind } from './keys.js'
import { announce, change, dialog, itemOf, list, meant, memberOf, members } from './collection.js'

const EDGE = 90 // pixels from where a page scrolls while one drags
const STARTS = 6 // pixels until a press is a drag

const byHand = list?.dataset.order === 'hand'

// -- where it goes

/** Moves a picture on the page, then on the server; back, if that refuses. */
async function put (hit, before) {
  const from = hit.nextElementSibling
  if (before === hit || before === from) return
  const anchor = before?.matches('.hit') ? before : null
  const last = members().filter((each) => each !== hit).at(-1)
  list.insertBefore(hit, before)
  arranged(hit)
  const data = anchor
    ? { to: 'before', anchor: JSON.stringify([itemOf(anchor)]) }
    : { to: 'after', anchor: JSON.stringify([itemOf(last)]) }
  const undo = () => {
    // More may have been loaded meanwhile, in the place of the link that was next.
    list.insertBefore(hit, from?.isConnected ? from : find('.more', list))
    arranged(hit)
  }
  if (!await change('move', [hit], data, undo)) undo()
}

function arranged (hit) {
  tell('settled')
  announce(`Now at place ${members().indexOf(hit) + 1}`)
}

// -- by the keyboard

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }

async function moveByKey (event) {
  const grip = event.target.closest?.('.grip')
  const hit = memberOf(grip)
  if (!byHand || !hit || find('dialog:modal')) return false
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

/** To a place that may not be on the page: it is then shown anew. */
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
      arranged(hit)
      find('.grip', hit).focus()
    } else tell('settled')
  }
}

if (byHand) {
  bind(['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], '', (event) => {
    if (!event.target.closest?.('.grip')) return false
    moveByKey(event)
  })
  bind(['Home', 'End'], '', (event) => {
    if (!event.target.closest?.('.grip')) return false
    moveByKey(event)
  })
}

dialog?.addEventListener('click', ({ target }) => {
  const to = target.closest('[data-to]')?.dataset.to
  if (!to) return
  dialog.close()
  moveFar(meant, { to })
})
find('.place', dialog ?? document)?.addEventListener('submit', (event) => {
  event.preventDefault()
  const place = Number(event.target.elements.place.value)
  dialog.close()
  moveFar(meant, { to: 'place', place })
})

// -- by mouse, pen and touch

let drag = null

document.addEventListener('pointerdown', (event) => {
  const grip = event.target.closest?.('.grip')
  if (!byHand || !grip || event.button) return
  drag = { grip, hit: memberOf(grip), x: event.clientX, y: event.clientY, moves: false, to: null }
  grip.setPointerCapture(event.pointerId)
})

document.addEventListener('pointermove', (event) => {
  if (!drag) return
  const far = Math.hypot(event.clientX - drag.x, event.clientY - drag.y)
  if (!drag.moves && far < STARTS) return
  if (!drag.moves) begin()
  drag.at = [event.clientX, event.clientY]
  showTarget()
})

function begin () {
  drag.moves = true
  drag.hit.classList.add('moving')
  document.body.classList.add('arranging')
  scrollOn()
}

/** The picture under the pointer, and on which side of it the moved one would go. */
function showTarget () {
  const [x, y] = drag.at
  const over = memberOf(document.elementFromPoint(x, y))
  for (const hit of members()) hit.classList.remove('drop-before', 'drop-after')
  drag.to = null
  if (!over || over === drag.hit) return
  const box = over.getBoundingClientRect()
  const after = x > box.left + box.width / 2
  over.classList.add(after ? 'drop-after' : 'drop-before')
  drag.to = { hit: over, after }
}

function scrollOn () {
  if (!drag?.moves) return
  const y = drag.at?.[1]
  const step = y < EDGE + 70 ? -14 : y > innerHeight - EDGE ? 14 : 0
  if (step) {
    scrollBy(0, step)
    showTarget()
  }
  requestAnimationFrame(scrollOn)
}

const stop = (event) => event.stopImmediatePropagation()

function end (drop) {
  if (!drag) return
  const { hit, moves, to } = drag
  drag = null
  hit.classList.remove('moving')
  document.body.classList.remove('arranging')
  for (const each of members()) each.classList.remove('drop-before', 'drop-after')
  if (!moves) return
  // The click that ends a drag does not open the dialog.
  addEventListener('click', stop, true)
  setTimeout(() => removeEventListener('click', stop, true))
  if (drop && to) put(hit, to.after ? to.hit.nextElementSibling : to.hit)
}

document.addEventListener('pointerup', () => end(true))
document.addEventListener('pointercancel', () => end(false))
bind('Escape', '', () => drag?.moves ? end(false) : false)
