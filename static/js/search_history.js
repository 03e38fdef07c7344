// Searches made of late, below the box while it is empty: for those who keep a history.

import { find, findAll, Refused, send } from './dom.js'

const box = find('#q')
const isMember = find('.menu a[href="/searches/"]')
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

let link = null
function go (address) {
  close()
  link?.remove()
  link = document.createElement('a')
  link.href = address
  link.hidden = true
  // In the page, so that htmx makes of it what it makes of any other link there.
  box.form.append(link)
  window.htmx?.process(link)
  link.click()
}

function option ({ label, address }, index) {
  const made = document.createElement('li')
  made.id = `recent-${index}`
  made.role = 'option'
  made.ariaSelected = 'false'
  made.dir = 'auto'
  made.textContent = label || 'A search'
  // Before the box loses the focus, at which the list closes.
  made.addEventListener('pointerdown', (event) => event.preventDefault())
  made.addEventListener('click', () => go(address))
  return made
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

let asked = 0
async function open () {
  if (list || box.value) return
  const number = ++asked
  try {
    const { searches } = await send('/searches/history/recent', {}, { method: 'GET', seconds: 5 })
    if (number === asked) show(searches)
  } catch (error) {
    // Without suggestions the box is as good as before.
    if (!(error instanceof Refused)) throw error
  }
}

function choose (index) {
  const options = findAll('li', list)
  options[chosen]?.setAttribute('aria-selected', 'false')
  // Before the first and behind the last stands the box itself.
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

if (box && isMember) {
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
