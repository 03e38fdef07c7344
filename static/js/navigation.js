// The addresses of searches, and going to another one as if by a link. All requests for
// results pass here: the latest action wins, whatever is still under way.

import { find } from './dom.js'

const form = find('#search')

/** The address of the results, also while the panel of an item has replaced it. */
export const resultsAddress = () => history.state?.results ?? location.pathname + location.search

/** The parameters of the address, for a search from its first page on. */
export function currentParameters () {
  const parameters = new URLSearchParams(location.search)
  parameters.delete('cursor')
  return parameters
}

export const hasTerms = () => Boolean(find('#q').value.trim() || find('input[type=hidden][form=search]'))

/** Show the results of an address: on a page of results without loading the page. */
export function go (address) {
  if (!window.htmx || !find('body.searching')) return location.assign(address)
  window.htmx.ajax('GET', address, { source: document.body, target: '#results', swap: 'outerHTML show:window:top' })
}

export function search (parameters) {
  go(`${form.getAttribute('action')}?${parameters}`)
}

// -- which action is the latest

let actions = 0

/** Begin an action that waits for something; return whether it is still the latest. */
export function begin () {
  const number = ++actions
  return () => number === actions
}

let timer = null

/**
 * Submit the search form, after a pause; once, although Enter in a field both changes the
 * field and submits the form. Any other action takes the changes of the form with it.
 */
export function submitSoon (milliseconds = 0) {
  clearTimeout(timer)
  timer = setTimeout(() => form.requestSubmit(), milliseconds)
}

function cancelTimer () {
  const wasPending = timer !== null
  clearTimeout(timer)
  timer = null
  return wasPending
}

// -- what is wanted: the address of the results and all changes since

const CHANGING_LINKS = '.chips, .said, .notice .ways' // they change the search, others replace it
let wanted = null // parameters that are requested but not shown yet
let sent = new Map() // the fields of the form when they were last sent or set

function fields () {
  const found = new Map()
  for (const [name, value] of form ? new FormData(form) : []) {
    if (typeof value === 'string') found.set(name, [...found.get(name) ?? [], value])
  }
  return found
}

const groups = (parameters) => new Map([...parameters.keys()].map((name) => [name, parameters.getAll(name)]))

/** The names whose values differ, with their later values. */
function changes (before, after) {
  const names = new Set([...before.keys(), ...after.keys()])
  return [...names]
    .filter((name) => String(before.get(name) ?? '') !== String(after.get(name) ?? ''))
    .map((name) => [name, after.get(name) ?? []])
}

function withChanges (parameters, changed) {
  const result = new URLSearchParams(parameters)
  for (const [name, values] of changed) {
    result.delete(name)
    for (const value of values) if (value) result.append(name, value)
  }
  return result
}

/** The fields of the form that have been changed since they were sent or set. */
export const changedFields = () => new Set(changes(sent, fields()).map(([name]) => name))

/** Note that the form shows the results, except for fields that were changed meanwhile. */
export function formIsSet (changed = new Set()) {
  const before = sent
  sent = fields()
  for (const name of changed) {
    if (before.has(name)) sent.set(name, before.get(name))
    else sent.delete(name)
  }
}

/** The parameters to request for an action: with the changes that are under way. */
function compose (element, asked) {
  const pending = cancelTimer()
  const now = fields()
  if (element === form && !wanted) {
    sent = now
    return asked
  }
  let base = wanted ?? currentParameters()
  if (element === form || pending) base = withChanges(base, changes(sent, now))
  sent = now
  if (element === form) return base
  if (!element.closest(CHANGING_LINKS)) return asked
  return withChanges(base, changes(groups(currentParameters()), groups(asked)))
}

document.addEventListener('htmx:configRequest', ({ detail }) => {
  if (!detail.target?.matches('#results')) return
  const { searchParams, pathname } = new URL(detail.path, location.href)
  if (detail.verb !== 'get' || !form) return begin()
  for (const [name, value] of Object.entries(detail.parameters)) {
    for (const each of [value].flat()) searchParams.append(name, each)
  }
  begin()
  if (pathname === new URL(form.action).pathname) wanted = compose(detail.elt, searchParams)
  // Another weight: of the search that is wanted by now.
  else if (wanted) searchParams.set('search', wanted)
  detail.parameters = {}
  detail.path = `${pathname}?${pathname === new URL(form.action).pathname ? wanted : searchParams}`
})

let latest = null // the request for results that was sent last
let restoring = null // a request for a page of the history

document.addEventListener('htmx:beforeSend', ({ detail }) => {
  if (!detail.target?.matches('#results')) return
  latest = detail.xhr
  restoring?.abort()
})

document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (detail.target.matches('#results') && detail.xhr !== latest) detail.shouldSwap = false
})

document.addEventListener('htmx:afterSwap', ({ detail }) => {
  if (detail.xhr && detail.xhr === latest) wanted = null
})

document.addEventListener('htmx:historyCacheMiss', ({ detail }) => { restoring = detail.xhr })

let shown = resultsAddress()
for (const change of ['htmx:pushedIntoHistory', 'htmx:replacedInHistory']) {
  document.addEventListener(change, () => { shown = resultsAddress() })
}

// Back and Forward to other results are actions, too. Captured: before the modules that
// handle them.
addEventListener('popstate', () => {
  if (resultsAddress() === shown) return // the panel of an item opens or closes
  shown = resultsAddress()
  begin()
  cancelTimer()
  wanted = null
  restoring?.abort()
  latest?.abort()
}, true)

form?.addEventListener('submit', cancelTimer)
formIsSet()
