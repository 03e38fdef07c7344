// On every page: the menu, the theme, the search box with its suggestions, help and the
// palette, which are loaded when they are wanted, and toasts.

import { find, findAll } from './dom.js'
import { bind } from './keys.js'
import './toast.js'

// -- the menu

const menu = find('.menu')

bind('Escape', '', () => {
  if (!menu?.open) return false
  menu.open = false
  find('summary', menu).focus()
})

document.addEventListener('click', (event) => {
  if (menu && !event.target.closest('.menu')) menu.open = false
  // A click outside a dialog closes it.
  for (const dialog of findAll('dialog[open]')) {
    if (event.target === dialog) dialog.close()
  }
})

for (const needsScript of findAll('[hidden]', menu ?? document.createElement('i'))) needsScript.hidden = false

// -- the theme: a cookie, so that the server writes it into the page

const YEAR_S = 365 * 24 * 3600

export function setTheme (theme) {
  const root = document.documentElement
  if (theme === 'system') delete root.dataset.theme
  else root.dataset.theme = theme
  document.cookie = `theme=${theme}; max-age=${YEAR_S}; path=/; SameSite=Lax`
  for (const radio of findAll('.theme input')) radio.checked = radio.value === theme
}

menu?.addEventListener('change', ({ target }) => {
  if (target.name === 'theme') setTheme(target.value)
})

// -- the search box

bind('/', 'Go to the search box', () => {
  const box = find('#q')
  if (!box) return false
  box.focus()
  box.select()
})

find('#q')?.addEventListener('focus', async ({ target }) => {
  let isSent = false
  target.form.addEventListener('submit', () => { isSent = true }, { once: true })
  const { suggest } = await import('./suggestions.js')
  // After a search that was faster than the script, suggestions would cover results.
  if (!isSent && document.activeElement === target) suggest()
}, { once: true })

// -- passwords can be looked at while they are typed

for (const field of findAll('input[type=password]')) {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'plain reveal'
  button.textContent = 'Show password'
  button.addEventListener('click', () => {
    const isShown = field.type === 'text'
    field.type = isShown ? 'password' : 'text'
    button.textContent = isShown ? 'Show password' : 'Hide password'
  })
  field.after(button)
}

// -- help and the palette

const openHelp = (tab) => import('./help.js').then((help) => help.open(tab))
const openPalette = () => import('./palette.js').then((palette) => palette.open())

document.addEventListener('click', (event) => {
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
  if (event.target.closest?.('.help-button') && plain) {
    event.preventDefault()
    openHelp('search')
  }
  if (event.target.closest?.('.go-to')) openPalette()
})

bind('?', 'Help', () => { openHelp('keys') })

// keys.js leaves keys with Ctrl or Cmd alone.
document.addEventListener('keydown', (event) => {
  const modified = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey
  if (!modified || event.key.toLowerCase() !== 'k') return
  event.preventDefault()
  openPalette()
})
