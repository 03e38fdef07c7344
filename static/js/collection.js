// The page of one's own collection: notes, what is taken out, the cover.

import { find, findAll, heed, Refused, send, tell } from './dom.js'
import { bind } from './keys.js'
import { toast } from './toast.js'
import { clear, selected } from './selection.js'

const PAUSE_MS = 800

export const list = find('.members')
export const dialog = find('#member')
export const memberOf = (element) => element?.closest?.('.members > .hit')
export const members = () => findAll('.members > .hit')

/** The item that a member is, whether it is still in its dataset or not. */
export const itemOf = ({ dataset }) => ({ dataset: dataset.dataset, id: Number(dataset.item ?? dataset.gone) })
const sent = (hits) => JSON.stringify(hits.map(itemOf))

let last = Promise.resolve()

/** Sends a change of some members, after those before it; true when it is done. */
export function change (...what) {
  const next = () => perform(...what)
  last = last.then(next, next)
  return last
}

async function perform (what, hits, data = {}, after = null) {
  try {
    const answer = await send(list.dataset.url + what, { items: sent(hits), ...data }, { seconds: 60 })
    if (answer.size) find('#size').textContent = answer.size
    if (answer.toast) toast({ ...answer.toast, after: after ?? (() => location.reload()) })
    return true
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    toast({ text: error.message })
    return false
  }
}

export function announce (text) {
  find('#announcement').textContent = text
}

// -- notes

const saved = new WeakMap()
const pauses = new WeakMap()
const sending = new Set()

async function saveNote (field) {
  clearTimeout(pauses.get(field))
  const before = saved.get(field) ?? field.defaultValue
  const { value } = field
  if (value === before) return
  saved.set(field, value)
  sending.add(field)
  try {
    await send(`${list.dataset.url}note`, { items: sent([memberOf(field)]), note: value })
    toast({ text: 'Note saved.' })
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    saved.set(field, before) // what was typed stays, and is tried again when it is left
    toast({ text: `The note is not saved. ${error.message}` })
  } finally {
    sending.delete(field)
  }
}

document.addEventListener('input', ({ target }) => {
  if (!target.matches('.note')) return
  clearTimeout(pauses.get(target))
  pauses.set(target, setTimeout(() => saveNote(target), PAUSE_MS))
})
document.addEventListener('focusout', ({ target }) => {
  if (target.matches?.('.note')) saveNote(target)
})
// Whoever leaves the page takes its requests along, but not those of this kind.
addEventListener('pagehide', () => {
  for (const field of findAll('.note')) {
    if (!sending.has(field) && field.value === (saved.get(field) ?? field.defaultValue)) continue
    navigator.sendBeacon(`${list.dataset.url}note`, new URLSearchParams({
      items: sent([memberOf(field)]),
      note: field.value,
      csrfmiddlewaretoken: find('meta[name=csrf-token]').content
    }))
  }
})

// -- out of the collection

export async function takeOut (hits) {
  if (!hits.length) return false
  const places = hits.map((hit) => [hit, hit.nextElementSibling])
  const next = hits.at(-1).nextElementSibling ?? hits[0].previousElementSibling
  for (const hit of hits) hit.remove()
  const putBack = () => {
    for (const [hit, before] of places.toReversed()) list.insertBefore(hit, before?.isConnected ? before : find('.more', list))
    tell('settled')
  }
  tell('settled')
  clear()
  find('a.picture, .grip', next ?? document)?.focus({ preventScroll: true })
  if (!await change('remove', hits, {}, ({ size }) => { putBack(); if (size) find('#size').textContent = size })) putBack()
  else if (!members().length && !find('.more', list)) location.reload()
}

const current = () => memberOf(document.activeElement)

bind('Delete', 'Take out of this collection', () => {
  if (find('dialog:modal')) return false
  const many = selected()
  takeOut(many.length ? many : [current()].filter(Boolean))
})

// -- what can be done with one, or with those that are selected

export let meant = null

document.addEventListener('click', ({ target }) => {
  const grip = target.closest?.('.grip')
  if (!grip || !dialog) return
  meant = memberOf(grip)
  find('.number', dialog).textContent = members().indexOf(meant) + 1
  find('.moves', dialog).hidden = list.dataset.order !== 'hand'
  find('[data-way=cover]', dialog).hidden = !meant.dataset.item
  dialog.showModal()
})

dialog?.addEventListener('click', ({ target }) => {
  const way = target.closest('[data-way]')?.dataset.way
  if (!way) return
  dialog.close()
  if (way === 'remove') takeOut([meant])
  if (way === 'cover') change('cover', [meant])
})

function addWays () {
  const ways = find('#selection .ways')
  if (!ways || !list || find('[data-kept]', ways)) return
  const button = document.createElement('button')
  button.type = 'button'
  button.dataset.kept = ''
  button.title = 'Take out of this collection (Del)'
  button.textContent = 'Take out'
  button.addEventListener('click', () => takeOut(selected()))
  ways.append(button)
}

addWays()
heed('settled', addWays)
