// To another search, as if a link to it had been pressed.

import { find } from './dom.js'

export const asked = () => {
  const parameters = new URLSearchParams(location.search)
  parameters.delete('cursor')
  return parameters
}

export const isSearch = () => Boolean(find('#q').value.trim() || find('input[type=hidden][form=search]'))

export function go (parameters) {
  const address = `${find('#search').getAttribute('action')}?${parameters}`
  if (!window.htmx || !find('body.searching')) return location.assign(address)
  window.htmx.ajax('GET', address, { source: document.body, target: '#results', swap: 'outerHTML show:window:top' })
}

/**
 * Searches by what is in the form now: once, though Enter in a field has changed it and
 * sends the form, too.
 */
let due = null
export function again () {
  clearTimeout(due)
  due = setTimeout(() => find('#search').requestSubmit())
}
find('#search').addEventListener('submit', () => clearTimeout(due))
