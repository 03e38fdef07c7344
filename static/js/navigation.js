// The addresses of searches, and going to another one as if by a link.

import { find } from './dom.js'

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
  go(`${find('#search').getAttribute('action')}?${parameters}`)
}

let timer = null

/**
 * Submit the search form; once, although Enter in a field both changes the field and
 * submits the form.
 */
export function submitSoon () {
  clearTimeout(timer)
  timer = setTimeout(() => find('#search').requestSubmit())
}

find('#search')?.addEventListener('submit', () => clearTimeout(timer))
