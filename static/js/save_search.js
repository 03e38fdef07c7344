// Saving the search on the screen, and telling the history of it.

import { find, findAll, heed, Refused, send } from './dom.js'
import { bind } from './keys.js'
import { toast } from './toast.js'
import './search_history.js'

const LOOKED_AT_MS = 1000 // who goes on sooner was not looking for this
const EDITING = 'searches:editing'
const SHARD = 2 ** 32 // items of one shard have the same number above it

/** What is to be done may be refused, with a sentence. */
async function tried (action) {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    toast({ text: error.message })
  }
}

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
  const { toast: told, id, name } = await send(form.action, Object.fromEntries(new FormData(form)))
  showSaved(control, id, name)
  toast({
    text: told.text,
    undo: told.undo && (async () => {
      await send(told.undo.url, told.undo.data)
      showSaved(control, null, '')
    })
  })
}

document.addEventListener('submit', (event) => {
  const form = event.target
  if (!form.matches('.save form')) return
  event.preventDefault()
  tried(() => save(form))
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

// -- change a saved search: it is remembered while one searches on

function editing () {
  try {
    return JSON.parse(sessionStorage.getItem(EDITING))
  } catch {
    return null // storage is forbidden
  }
}

function edit (search) {
  try {
    if (search) sessionStorage.setItem(EDITING, JSON.stringify(search))
    else sessionStorage.removeItem(EDITING)
  } catch {
    // Storage is forbidden: then saving anew is the way.
  }
}

function button (text, action) {
  const made = document.createElement('button')
  made.type = 'button'
  made.textContent = text
  made.addEventListener('click', action)
  return made
}

async function update (control, { id, name }) {
  const { toast: told } = await send(`/searches/${id}/change`, { address: control.dataset.address })
  edit(null)
  find('.editing', control).remove()
  showSaved(control, id, name)
  toast({
    text: told.text,
    undo: async () => {
      await send(told.undo.url, told.undo.data)
      showSaved(control, null, '')
    }
  })
}

function offerUpdate (control) {
  if (location.hash === '#edit' && control.dataset.saved) {
    edit({ id: control.dataset.saved, name: control.dataset.name })
    history.replaceState(history.state, '', location.pathname + location.search)
  }
  const search = editing()
  find('.editing', control)?.remove()
  if (!search || control.dataset.saved === search.id || !find('.kept', control)) return
  const offer = document.createElement('span')
  offer.className = 'editing'
  const stop = button('×', () => {
    edit(null)
    offer.remove()
  })
  stop.setAttribute('aria-label', `Stop editing ${search.name}`)
  offer.append(button(`Update “${search.name}”`, () => tried(() => update(control, search))), stop)
  control.append(offer)
}

// -- history, and what is new in a saved search

let noted = '' // the address that the history knows already
let newShards = new Set()
let waiting = null

function markNew () {
  if (!newShards.size) return
  for (const hit of findAll('#results .hit:not(.new)')) {
    if (!newShards.has(Math.floor(hit.dataset.item / SHARD))) continue
    hit.classList.add('new')
    const sign = document.createElement('span')
    sign.className = 'sign-new'
    sign.textContent = 'New'
    find('.frame', hit).append(sign)
  }
}

async function tellHistory (address) {
  waiting = null
  noted = address
  try {
    const answer = await send('/searches/history/', { address })
    newShards = new Set(answer.new_shards)
    markNew()
  } catch (error) {
    // The search was answered; that it is not remembered is no reason to disturb.
    if (!(error instanceof Refused)) throw error
  }
}

function noteSearch (control) {
  const { address } = control.dataset
  if (address === noted || new URLSearchParams(location.search).has('cursor')) return
  newShards = new Set()
  clearTimeout(waiting)
  waiting = setTimeout(tellHistory, LOOKED_AT_MS, address)
}

function arrange () {
  const control = find('#results .save')
  if (control && find('.kept', control)) {
    noteSearch(control)
    offerUpdate(control)
  }
  markNew()
}

heed('settled', arrange)
arrange()
