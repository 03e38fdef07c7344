// The page of the user's own collection: notes, removal, the cover.

import { emit, find, findAll, listen, RequestError, send } from './dom.js'
import { bind } from './keys.js'
import { toast } from './toast.js'
import { clear, selected } from './selection.js'

const PAUSE_MS = 800

export const list = find('.members')
export const dialog = find('#member')
export const memberOf = (element) => element?.closest?.('.members > .hit')
export const members = () => findAll('.members > .hit')

/** The item of a member, also of one that its dataset has lost. */
export const itemOf = ({ dataset }) => ({ dataset: dataset.dataset, id: Number(dataset.item ?? dataset.gone) })
const itemsJson = (hits) => JSON.stringify(hits.map(itemOf))

let last = Promise.resolve()

/** Send a change of some members, after all earlier ones; return whether it succeeded. */
export function change (...args) {
  const next = () => perform(...args)
  last = last.then(next, next)
  return last
}

async function perform (action, hits, data = {}, after = null) {
  try {
    const answer = await send(list.dataset.url + action, { items: itemsJson(hits), ...data }, { seconds: 60 })
    if (answer.size) find('#size').textContent = answer.size
    if (answer.toast) toast({ ...answer.toast, after: after ?? (() => location.reload()) })
    return true
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
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
    await send(`${list.dataset.url}note`, { items: itemsJson([memberOf(field)]), note: value })
    toast({ text: 'Note saved.' })
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    saved.set(field, before) // the text stays, and is sent again when the field loses focus
    toast({ text: `Could not save the note. ${error.message}` })
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
// Requests of fetch end with the page, beacons do not.
addEventListener('pagehide', () => {
  for (const field of findAll('.note')) {
    if (!sending.has(field) && field.value === (saved.get(field) ?? field.defaultValue)) continue
    navigator.sendBeacon(`${list.dataset.url}note`, new URLSearchParams({
      items: itemsJson([memberOf(field)]),
      note: field.value,
      csrfmiddlewaretoken: find('meta[name=csrf-token]').content
    }))
  }
})

// -- removal

export async function takeOut (hits) {
  if (!hits.length) return false
  const places = hits.map((hit) => [hit, hit.nextElementSibling])
  const next = hits.at(-1).nextElementSibling ?? hits[0].previousElementSibling
  for (const hit of hits) hit.remove()
  const putBack = () => {
    for (const [hit, before] of places.toReversed()) list.insertBefore(hit, before?.isConnected ? before : find('.more', list))
    emit('settled')
  }
  emit('settled')
  clear()
  find('a.picture, .grip', next ?? document)?.focus({ preventScroll: true })
  if (!await change('remove', hits, {}, ({ size }) => { putBack(); if (size) find('#size').textContent = size })) putBack()
  else if (!members().length && !find('.more', list)) location.reload()
}

const current = () => memberOf(document.activeElement)

bind('Delete', 'Remove from this collection', () => {
  if (find('dialog:modal')) return false
  const many = selected()
  takeOut(many.length ? many : [current()].filter(Boolean))
})

// -- the dialog of one member, and a button for the selected ones

let target = null
/** The member that the dialog is about. */
export const chosen = () => target

document.addEventListener('click', (event) => {
  const grip = event.target.closest?.('.grip')
  if (!grip || !dialog) return
  target = memberOf(grip)
  find('.number', dialog).textContent = members().indexOf(target) + 1
  find('.moves', dialog).hidden = list.dataset.order !== 'hand'
  find('[data-action=cover]', dialog).hidden = !target.dataset.item
  dialog.showModal()
})

dialog?.addEventListener('click', (event) => {
  const action = event.target.closest('[data-action]')?.dataset.action
  if (!action) return
  dialog.close()
  if (action === 'remove') takeOut([target])
  if (action === 'cover') change('cover', [target])
})

function addButton () {
  const buttons = find('#selection .ways')
  if (!buttons || !list || find('[data-take-out]', buttons)) return
  const button = document.createElement('button')
  button.type = 'button'
  button.dataset.takeOut = ''
  button.title = 'Remove from this collection (Del)'
  button.textContent = 'Remove'
  button.addEventListener('click', () => takeOut(selected()))
  buttons.append(button)
}

addButton()
listen('settled', addButton)
