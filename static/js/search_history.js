// Recent searches below the empty search box, for users who keep a history.

import { find, findAll, RequestError, send } from './dom.js'
import { go } from './navigation.js'

const box = find('#q')
const isSignedIn = find('.menu a[href="/searches/"]')
let list = null
let chosen = -1

function close () {
  if (!list) return
  list.remove()
  list = null
  chosen = -1
  box.setAttribute('aria-expanded', 'false')
  box.removeAttribute('aria-activedescendant')
}

function option ({ label, address }, index) {
  const element = document.createElement('li')
  element.id = `recent-${index}`
  element.role = 'option'
  element.ariaSelected = 'false'
  element.dir = 'auto'
  element.textContent = label || 'A search'
  // Otherwise the box would lose the focus, and the list close, before the click.
  element.addEventListener('pointerdown', (event) => event.preventDefault())
  element.addEventListener('click', () => {
    close()
    go(address)
  })
  return element
}

function show (searches) {
  close()
  if (!searches.length || box.value || document.activeElement !== box) return
  list = document.createElement('ul')
  list.id = 'recent'
  list.role = 'listbox'
  list.ariaLabel = 'Recent searches'
  list.append(...searches.map(option))
  box.closest('.box').append(list)
  box.setAttribute('aria-expanded', 'true')
}

let requests = 0
async function open () {
  if (list || box.value) return
  const number = ++requests
  try {
    const { searches } = await send('/searches/history/recent', {}, { method: 'GET', seconds: 5 })
    if (number === requests) show(searches)
  } catch (error) {
    // The box works without suggestions.
    if (!(error instanceof RequestError)) throw error
  }
}

function choose (index) {
  const options = findAll('li', list)
  options[chosen]?.setAttribute('aria-selected', 'false')
  // -1, the box itself, comes before the first option and after the last.
  chosen = (index + options.length + 2) % (options.length + 1) - 1
  if (chosen < 0) return box.removeAttribute('aria-activedescendant')
  options[chosen].setAttribute('aria-selected', 'true')
  options[chosen].scrollIntoView({ block: 'nearest' })
  box.setAttribute('aria-activedescendant', options[chosen].id)
}

function press (event) {
  if (event.key === 'ArrowDown' && !list) return open()
  if (!list) return
  if (event.key === 'ArrowDown') choose(chosen + 1)
  else if (event.key === 'ArrowUp') choose(chosen - 1)
  else if (event.key === 'Enter' && chosen >= 0) findAll('li', list)[chosen].click()
  else if (event.key === 'Escape') close()
  else return
  event.preventDefault()
}

if (box && isSignedIn) {
  box.role = 'combobox'
  box.setAttribute('aria-expanded', 'false')
  box.setAttribute('aria-controls', 'recent')
  box.setAttribute('aria-haspopup', 'listbox')
  box.addEventListener('focus', open)
  box.addEventListener('click', open)
  box.addEventListener('input', () => box.value ? close() : open())
  box.addEventListener('blur', close)
  box.addEventListener('keydown', press)
}
