// On every page: the keyboard's help, toasts, and menus that close by themselves.

import { find, findAll } from './dom.js'
import { bind } from './keys.js'
import './toast.js'

const menu = find('.menu')
const roomy = matchMedia(find('.finder') ? '(min-width: 1501px)' : '(min-width: 761px)')

function fit () {
  menu?.classList.toggle('unfolded', roomy.matches)
  if (menu) menu.open = roomy.matches
}

roomy.addEventListener('change', fit)
fit()

bind('Escape', null, () => {
  if (!menu?.open || roomy.matches) return false
  menu.open = false
  find('summary', menu).focus()
})

document.addEventListener('click', (event) => {
  if (menu && !roomy.matches && !event.target.closest('.menu')) menu.open = false
  // A click beside a dialog closes it.
  for (const dialog of findAll('dialog[open]')) {
    if (event.target === dialog) dialog.close()
  }
})
