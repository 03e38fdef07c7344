// Saving the current search, and recording it in the history.

import { find, findAll, listen, RequestError, send } from './dom.js'
import { bind } from './keys.js'
import { parse, session } from './storage.js'
import { toast, toastErrors } from './toast.js'

const MIN_VIEW_MS = 1000 // a search that is left sooner is not recorded
const EDITING_KEY = 'searches:editing'
const SHARD_SIZE = 2 ** 32 // an item's id is its shard's number times this, plus its row

// -- save

function showSaved (control, id, name) {
  const link = find('.kept', control)
  const details = find('details', control)
  link.hidden = !id
  details.hidden = Boolean(id)
  details.open = false
  find('span', link).textContent = name
  if (id) Object.assign(control.dataset, { saved: id, name })
  else {
    delete control.dataset.saved
    delete control.dataset.name
  }
  ;(id ? link : find('summary', details)).focus()
}

async function save (form) {
  const control = form.closest('.save')
  const { toast: answer, id, name } = await send(form.action, Object.fromEntries(new FormData(form)))
  showSaved(control, id, name)
  toast({
    text: answer.text,
    undo: answer.undo && (async () => {
      await send(answer.undo.url, answer.undo.data)
      showSaved(control, null, '')
    })
  })
}

document.addEventListener('submit', (event) => {
  const form = event.target
  if (!form.matches('.save form')) return
  event.preventDefault()
  toastErrors(() => save(form))
})

document.addEventListener('toggle', ({ target }) => {
  if (target.open && target.matches?.('.save details')) find('input[name=name]', target).select()
}, true)

function close (event) {
  const open = find('.save details[open]')
  if (!open || (event.type === 'click' && open.contains(event.target))) return false
  open.open = false
  if (event.type === 'keydown') find('summary', open).focus()
}

document.addEventListener('click', close)
bind('Escape', '', close)

// -- change a saved search: it stays the one being edited in this tab until it is updated

const edit = (search) => session.set(EDITING_KEY, JSON.stringify(search))
const stopEditing = () => session.remove(EDITING_KEY)

function button (text, action) {
  const made = document.createElement('button')
  made.type = 'button'
  made.textContent = text
  made.addEventListener('click', action)
  return made
}

async function update (control, { id, name }) {
  const { toast: answer } = await send(`/searches/${id}/change`, { address: control.dataset.address })
  stopEditing()
  find('.editing', control).remove()
  showSaved(control, id, name)
  toast({
    text: answer.text,
    undo: async () => {
      await send(answer.undo.url, answer.undo.data)
      showSaved(control, null, '')
    }
  })
}

function offerUpdate (control) {
  if (location.hash === '#edit' && control.dataset.saved) {
    edit({ id: control.dataset.saved, name: control.dataset.name })
    history.replaceState(history.state, '', location.pathname + location.search)
  }
  const search = parse(session.get(EDITING_KEY))
  find('.editing', control)?.remove()
  if (!search || control.dataset.saved === search.id || !find('.kept', control)) return
  const offer = document.createElement('span')
  offer.className = 'editing'
  const stop = button('×', () => {
    stopEditing()
    offer.remove()
  })
  stop.setAttribute('aria-label', `Stop editing ${search.name}`)
  offer.append(button(`Update “${search.name}”`, () => toastErrors(() => update(control, search))), stop)
  control.append(offer)
}

// -- history, and new items of a saved search

let recorded = '' // the address that is in the history already
let newShards = new Set()
let timer = null

function markNew () {
  if (!newShards.size) return
  for (const hit of findAll('#results .hit:not(.new)')) {
    if (!newShards.has(Math.floor(hit.dataset.item / SHARD_SIZE))) continue
    hit.classList.add('new')
    const sign = document.createElement('span')
    sign.className = 'sign-new'
    sign.textContent = 'New'
    find('.frame', hit).append(sign)
  }
}

async function record (address) {
  timer = null
  recorded = address
  try {
    const answer = await send('/searches/history/', { address })
    newShards = new Set(answer.new_shards)
    markNew()
  } catch (error) {
    // The results are there: a gap in the history is no reason to disturb.
    if (!(error instanceof RequestError)) throw error
  }
}

function recordLater (control) {
  const { address } = control.dataset
  if (address === recorded || new URLSearchParams(location.search).has('cursor')) return
  newShards = new Set()
  clearTimeout(timer)
  timer = setTimeout(record, MIN_VIEW_MS, address)
}

function arrange () {
  const control = find('#results .save')
  if (control && find('.kept', control)) {
    recordLater(control)
    offerUpdate(control)
  }
  markNew()
}

listen('settled', arrange)
arrange()
